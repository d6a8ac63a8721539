"""What `bench/run` does once Python is there: sets up the rest, builds `lake`, measures, and prints the tables."""

import argparse
import os
import shutil
import subprocess
import sys
import time

import variants
from bench import DataSet, Run, adopt_orphans, clear, fresh, keep, known_contenders, run_workload
from place import BENCH, CHECKOUT, DATA, HOME, JARS, OUT, PYTHON, RESULTS, TARGET


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run", description="Measures `lake` beside other tools on one workload, and verifies them all.")
    parser.add_argument("--size", choices=["S", "M"], default="S", help="24 MB or 1.35 GB of raw files (default: S)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each contender (default: 3)")
    parser.add_argument("--peers", default="duckdb,polars,dlt,spark", help="whom to measure beside `lake`; empty for nobody (default: %(default)s)")
    parser.add_argument("--change", metavar="PERCENTS", help="also change batches of so many percent of the keys, such as 0.1,1,10")
    parser.add_argument("--workspaces", metavar="NUMBERS", help="also the same rows in so many workspaces, such as 10,10000")
    parser.add_argument("--lower", action="store_true", help="also the lower bound of the load on this machine, and load / bound")
    parser.add_argument("--memory", help="the memory budget of `lake`, such as 512MiB (default: none)")
    parser.add_argument("--no-workload", action="store_true", help="leave out the workload itself: only what was asked for beside it")
    parser.add_argument("--no-build", action="store_true", help="take the binaries as they are")
    parser.add_argument("--keep", action="store_true", help=f"keep the tables of the last run, below {OUT}")
    return parser.parse_args()


def install_jars():
    """Delta's own jars; what they need is in pyspark."""
    if os.path.exists(f"{JARS}/delta/complete"):
        return
    print(f"fetching Delta for Spark into {JARS}", flush=True)
    os.makedirs(f"{JARS}/delta", exist_ok=True)
    shutil.copy(f"{BENCH}/delta-jars.xml", f"{JARS}/pom.xml")
    groups = "-DincludeGroupIds=io.delta,io.unitycatalog"
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", groups, f"-DoutputDirectory={JARS}/delta"]
    subprocess.check_call(["mvn", "--quiet", "--batch-mode", *goal], cwd=JARS)
    open(f"{JARS}/delta/complete", "w").close()


def generated(size):
    data = DataSet(size, f"{DATA}/{size}")
    if not variants.is_ready(data):
        print(f"generating the data of size {size}", flush=True)
        subprocess.check_call([PYTHON, f"{BENCH}/gen.py", "--size", size])
    return data


def build():
    command = ["cargo", "build", "--release", "--workspace", "--locked"]
    subprocess.check_call(command, cwd=CHECKOUT, env={**os.environ, "CARGO_TARGET_DIR": TARGET})


def run_changes(contenders, base, percents, runs, results):
    """Loads once for each contender and run, then brings each change onto a copy of what was loaded."""
    sets = variants.changed(base, percents)
    right = True
    for number in range(1, runs + 1):
        for contender in contenders:
            out = f"{OUT}/{base.name}_{contender.name}"
            loading = Run(contender, base, number, fresh(out), 3600)
            if not loading.phase("load", base.raw) or not loading.record["ok"]:
                print(loading.summary(), *loading.record["errors"], flush=True)
                right = False
                continue
            shutil.rmtree(f"{out}.loaded", ignore_errors=True)
            os.rename(out, f"{out}.loaded")
            for data, percent, shape in sets:
                clear(out)
                subprocess.check_call(["cp", "-a", f"{out}.loaded", out])
                os.sync()
                data.warm()
                run = Run(contender, data, number, out, 3600, percent=percent, shape=shape)
                run.phase("incr", data.raw)
                run.record["size"] = base.name
                keep(run.record, results)
                print(percent, shape, run.summary(), *run.record["errors"], flush=True)
                right &= run.record["ok"]
            for folder in (out, f"{out}.loaded"):
                shutil.rmtree(folder, ignore_errors=True)
    return right


def measure_lower_bounds(contender, data):
    """The file with the lower bounds, measured on the tables of a load."""
    out, results = fresh(f"{OUT}/{data.name}_lower"), f"{RESULTS}/lower_{data.name}.json"
    loading = Run(contender, data, 1, out, 3600)
    if not loading.phase("load", data.raw) or not loading.record["ok"]:
        sys.exit(f"the load failed: {loading.record['errors']}")
    subprocess.check_call([PYTHON, f"{BENCH}/lower.py", "--raw", data.raw, "--name", data.name, "--tables", out, "--results", results])
    clear(out)
    return results


def main():
    given = arguments()
    known = known_contenders()
    peers = [name for name in given.peers.split(",") if name]
    unknown = [name for name in peers if name not in known]
    if unknown:
        sys.exit(f"there is no peer `{unknown[0]}`: the peers are {', '.join(n for n in known if not n.startswith('lake'))}")
    if given.memory:
        os.environ["LAKE_BENCH_MEMORY"] = given.memory
    for folder in (HOME, RESULTS, OUT):
        os.makedirs(folder, exist_ok=True)
    if "spark" in peers:
        install_jars()
    data = generated(given.size)
    if not given.no_build:
        build()
    adopt_orphans()
    contenders = [known["lake"], known["lake_rewrite"], *(known[name] for name in peers)]
    results = f"{RESULTS}/{time.strftime('%Y%m%dT%H%M%S')}_{given.size}.json"
    right, shown = True, [results]
    if not given.no_workload:
        right &= run_workload(contenders, data, given.runs, results, keep_out=given.keep)
    if given.workspaces:
        for number in given.workspaces.split(","):
            spread = variants.spread(data, number)
            right &= run_workload(contenders, spread, given.runs, results, phases="load,incr,noop", keep_out=given.keep)
    if given.change:
        right &= run_changes(contenders, data, given.change.split(","), given.runs, results)
    if given.lower:
        shown.append(measure_lower_bounds(known["lake"], data))
    if os.path.exists(results):
        subprocess.check_call([PYTHON, f"{BENCH}/report.py", *shown])
        print(f"\nAll numbers: {results}")
    sys.exit(not right)


if __name__ == "__main__":
    main()
