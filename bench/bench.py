#!/usr/bin/env python3
"""Runs contenders through the workload of WORKLOAD.md, verifies their tables and notes what each phase cost.

    bench.py --size S --runs 3 --peer lake,duckdb,polars              # those of this project
    bench.py --size S --runs 3 --cmd '/path/prog run' --name mine     # any program under the contract

Contenders are interleaved: run 1 of each, then run 2 of each. A phase is one process:

    <command> --phase P --raw RAW --out OUT --steps STEPS.json

Every run of a contender is one record of the results; it counts when all of its tables and answers are right.
"""

import argparse
import ctypes
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

import psutil

from place import BENCH, CHECKOUT, DATA, LOGS, OUT, PYTHON, RESULTS, TARGET

PHASES = "load,incr,query,noop"
SAMPLES_PER_SECOND = 20
PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Contender:
    """A program under the contract."""

    name: str
    command: list
    scope: str = "all"
    """`silver`: it makes no gold, and answers no queries."""
    unchanged_input: bool = False
    """Whether its no-op is a run over files that were all read, which is more work than the empty folders that the others get."""


def known_contenders():
    peers = {name: Contender(name, [PYTHON, f"{BENCH}/peers/{name}_peer.py"]) for name in ("duckdb", "polars", "spark", "dlt")}
    peers["dlt"].scope = "silver"
    lake = Contender("lake", [f"{TARGET}/release/lake-bench"], unchanged_input=True)
    rewriting = Contender("lake_rewrite", ["env", "MERGE_ON_READ=false", *lake.command], unchanged_input=True)
    return {"lake": lake, "lake_rewrite": rewriting, **peers}


@dataclass
class DataSet:
    """A folder as `gen.py` writes it."""

    name: str
    folder: str

    @property
    def raw(self):
        return f"{self.folder}/raw"

    def expected(self):
        with open(f"{self.folder}/expected/expected.json") as file:
            return json.load(file)

    def warm(self):
        """Reads all input once, so that every contender finds it in the page cache."""
        for folder, _, files in os.walk(self.raw, followlinks=True):
            for name in files:
                with open(os.path.join(folder, name), "rb") as file:
                    while file.read(1 << 22):
                        pass


def resident(process):
    """Bytes of memory of a process and all below it."""
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            try:
                total += one.memory_info().rss
            except psutil.Error:
                pass
    except psutil.Error:
        pass
    return total


def adopt_orphans():
    """Lets this process wait for grandchildren whose parents ended, such as the JVM of pyspark: their CPU time counts."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measured(command, log, timeout):
    """Runs a command to its end. Its wall time, the CPU time of all processes it started, the memory of all of them at once
    (sampled) and of the largest (as the kernel says), its exit code, and how busy the machine was."""
    load_before = os.getloadavg()[0]
    clock = time.perf_counter()
    with open(log, "w") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=CHECKOUT, start_new_session=True)
    process, peak, ended = psutil.Process(child.pid), [0], threading.Event()

    def sample():
        while not ended.is_set():
            peak[0] = max(peak[0], resident(process))
            ended.wait(1 / SAMPLES_PER_SECOND)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    killer = threading.Timer(timeout, lambda: os.killpg(child.pid, 9))
    killer.start()
    user = system = 0.0
    largest, code, wall = 0, None, None
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        user, system, largest = user + usage.ru_utime, system + usage.ru_stime, max(largest, usage.ru_maxrss)
        if pid == child.pid:
            wall, code = time.perf_counter() - clock, os.waitstatus_to_exitcode(status)
            ended.set()
    killer.cancel()
    sampler.join()
    child.returncode = code
    return {
        "wall": round(wall, 3),
        "cpu_user": round(user, 3),
        "cpu_sys": round(system, 3),
        "cpu": round(user + system, 3),
        "peak_rss_mb": round(peak[0] / 2**20),
        "max_rss_mb": round(largest / 1024),
        "rc": code,
        "load_before": round(load_before, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }


def clear(out):
    """Removes the tables of a contender, and what it keeps beside them."""
    for folder in (out, f"{out}.landing"):
        shutil.rmtree(folder, ignore_errors=True)
    pathlib.Path(f"{out}.landed").unlink(missing_ok=True)


def sizes(out):
    """Files and bytes of each table as it is now, and bytes of all that is on disk."""
    from deltalake import DeltaTable

    found = {}
    for layer in ("bronze", "silver", "gold"):
        tables = sorted(os.listdir(f"{out}/{layer}")) if os.path.isdir(f"{out}/{layer}") else []
        for table in tables:
            path = f"{out}/{layer}/{table}"
            if os.path.isdir(f"{path}/_delta_log"):
                files = DeltaTable(path).file_uris()
                found[f"{layer}/{table}"] = {"files": len(files), "live_bytes": sum(os.path.getsize(f) for f in files)}
    found["live_bytes"] = sum(table["live_bytes"] for table in found.values())
    found["disk_bytes"] = sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(out) for f in files)
    return found


class Run:
    """One run of a contender over a data set, phase by phase; `record` is what came of it."""

    def __init__(self, contender, data, number, out, timeout, **more):
        self.contender, self.data, self.out, self.timeout = contender, data, out, timeout
        at = time.strftime("%F %T")
        command = shlex.join(contender.command)
        self.record = {"size": data.name, "peer": contender.name, "run": number, "at": at, "cmd": command}
        self.record |= {**more, "phases": {}, "ok": True, "errors": []}

    def wrong(self, text):
        self.record["ok"] = False
        self.record["errors"].append(text)

    def phase(self, phase, raw):
        """Runs a phase and checks what it must come to; whether the next one can follow."""
        steps_file = f"{self.out}/.steps_{phase}.json"
        os.makedirs(LOGS, exist_ok=True)
        log = f"{LOGS}/{self.data.name}_{self.contender.name}_{phase}.log"
        arguments = ["--phase", phase, "--raw", raw, "--out", self.out, "--steps", steps_file]
        result = measured(self.contender.command + arguments, log, self.timeout)
        written = {"steps": {}, "answers": {}}
        if os.path.exists(steps_file):
            with open(steps_file) as file:
                written = json.load(file)
        result["steps"] = written["steps"]
        self.record["phases"][phase] = result
        if result["rc"] != 0:
            self.wrong(f"{phase}: exit code {result['rc']}, see {log}")
            return False
        if phase in ("load", "incr"):
            self.verify(phase)
            result["out"] = sizes(self.out)
        if phase == "query":
            self.check_answers(written["answers"])
        return True

    def verify(self, phase):
        state = "load" if phase == "load" else "final"
        arguments = ["--data", self.data.folder, "--out", self.out, "--state", state, "--scope", self.contender.scope]
        done = subprocess.run([sys.executable, f"{BENCH}/verify.py", *arguments], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            self.wrong(f"{phase}: {done.stdout.strip() or 'the verifier failed'}")

    def check_answers(self, answers):
        expected = self.data.expected()
        points = [[q["lines"], q["revenue"]] for q in expected["point_queries"]]
        scan = [[q["ship_mode"], str(q["lines"]), str(q["quantity"]), q["revenue"]] for q in expected["scan_agg"]]
        if answers.get("point") != points:
            self.wrong("point query answers differ")
        if answers.get("scan") != scan:
            self.wrong("scan answers differ")

    def summary(self):
        phases = (
            f"{phase}: wall {r['wall']} cpu {r['cpu']} rss {r['peak_rss_mb']}MB load {r['load_before']} {r['steps']}"
            for phase, r in self.record["phases"].items()
        )
        said = "OK " if self.record["ok"] else "FAIL"
        return f"{self.record['size']} {self.record['peer']:8s} run {self.record['run']} {said} {'  '.join(phases)}"


def keep(record, results):
    """Adds a record to the results."""
    records = []
    if os.path.exists(results):
        with open(results) as file:
            records = json.load(file)
    os.makedirs(os.path.dirname(os.path.abspath(results)), exist_ok=True)
    with open(results + ".tmp", "w") as file:
        json.dump([*records, record], file, indent=1)
    os.replace(results + ".tmp", results)


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def run_workload(contenders, data, runs, results, phases=PHASES, out=OUT, timeout=3600, keep_out=False):
    """All phases of all contenders, `runs` times; whether every run was right."""
    data.warm()
    right = True
    with tempfile.TemporaryDirectory(prefix="lake_bench_empty_") as empty:
        for folder in ("base", "change"):
            os.makedirs(f"{empty}/{folder}")
        for number in range(1, runs + 1):
            for contender in contenders:
                run = Run(contender, data, number, fresh(f"{out}/{data.name}_{contender.name}"), timeout)
                for phase in phases.split(","):
                    if phase == "query" and contender.scope != "all":
                        continue
                    without_input = phase == "noop" and not contender.unchanged_input
                    if not run.phase(phase, empty if without_input else data.raw):
                        break
                keep(run.record, results)
                print(run.summary(), *run.record["errors"], flush=True)
                right &= run.record["ok"]
                if not keep_out:
                    clear(run.out)
    return right


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", required=True, help="a folder of --data, such as S or M")
    parser.add_argument("--peer", default="", help=f"any of {', '.join(known_contenders())}")
    parser.add_argument("--cmd", help="the command of one more contender")
    parser.add_argument("--name", default="contender", help="what to call it")
    parser.add_argument("--scope", choices=["all", "silver"], default="all", help="what it makes")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--phases", default=PHASES)
    parser.add_argument("--data", default=DATA)
    parser.add_argument("--out", default=OUT)
    parser.add_argument("--results", default=f"{RESULTS}/results.json")
    parser.add_argument("--timeout", type=float, default=3600)
    parser.add_argument("--keep", action="store_true", help="keep the tables of the last run of each")
    arguments = parser.parse_args()
    adopt_orphans()
    known = known_contenders()
    contenders = [known[name] for name in arguments.peer.split(",") if name]
    if arguments.cmd:
        contenders.append(Contender(arguments.name, shlex.split(arguments.cmd), arguments.scope))
    data = DataSet(arguments.size, f"{arguments.data}/{arguments.size}")
    right = run_workload(
        contenders, data, arguments.runs, arguments.results, arguments.phases, arguments.out, arguments.timeout, arguments.keep
    )
    sys.exit(not right)


if __name__ == "__main__":
    main()
