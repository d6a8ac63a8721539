#!/usr/bin/env python3
"""bench.py --size S|M --peer polars[,duckdb,...] --runs N [--cmd 'prefix command' --name my] [--phases load,incr,query,noop]

Runs the workload of WORKLOAD.md; peers are interleaved (run 1 of every peer, then run 2, ...). Each phase is one
process:   <prefix> --phase P --raw RAW --out OUT --steps STEPS.json      (contract in WORKLOAD.md)
Every (peer, run) appends one record to results.json; outputs are verified against expected.json before it counts.
"""

import argparse, ctypes, json, os, shlex, shutil, subprocess, sys, tempfile, threading, time
import psutil

HERE = os.path.dirname(os.path.abspath(__file__))
PY = f"{HERE}/venv/bin/python"
PEERS = {p: f"{PY} {HERE}/peers/{p}_peer.py" for p in ("polars", "duckdb", "spark")}
PEERS["dlt"] = f"{PY} {HERE}/peers/dlt_peer.py"
SCOPE = {"dlt": "silver"}  # peers that implement only the ingest+merge part


def tree_rss(p, seen):
    tot = 0
    try:
        for q in [p] + p.children(recursive=True):
            try:
                tot += q.memory_info().rss
            except psutil.Error:
                pass
    except psutil.Error:
        pass
    return tot


def run_phase(cmd, log, timeout):
    """-> dict(wall, cpu_user, cpu_sys, peak_rss_mb (sum over the process tree, sampled 20 Hz), max_rss_mb (kernel, largest process), rc)"""
    before = os.getloadavg()[0]
    psi0 = open("/proc/pressure/cpu").readline() if os.path.exists("/proc/pressure/cpu") else ""
    t0 = time.perf_counter()
    with open(log, "w") as f:
        p = subprocess.Popen(cmd, stdout=f, stderr=subprocess.STDOUT, cwd=HERE, start_new_session=True)
    ps, peak, stop = psutil.Process(p.pid), [0], threading.Event()

    def sample():
        while not stop.is_set():
            peak[0] = max(peak[0], tree_rss(ps, None))
            stop.wait(0.05)

    th = threading.Thread(target=sample, daemon=True)
    th.start()
    killer = threading.Timer(timeout, lambda: os.killpg(p.pid, 9))
    killer.start()
    u = s = 0.0
    mx = 0
    rc = None
    wall = None
    while True:  # we are a child subreaper: orphans (the JVM of pyspark) are accounted as well
        try:
            pid, st, ru = os.wait4(-1, 0)
        except ChildProcessError:
            break
        u += ru.ru_utime
        s += ru.ru_stime
        mx = max(mx, ru.ru_maxrss)
        if pid == p.pid:
            wall, rc = time.perf_counter() - t0, os.waitstatus_to_exitcode(st)
            stop.set()
    killer.cancel()
    th.join()
    p.returncode = rc
    return {
        "wall": round(wall, 3),
        "cpu_user": round(u, 3),
        "cpu_sys": round(s, 3),
        "cpu": round(u + s, 3),
        "peak_rss_mb": round(peak[0] / 2**20),
        "max_rss_mb": round(mx / 1024),
        "rc": rc,
        "load_before": round(before, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }


def sizes(out):
    from deltalake import DeltaTable

    r = {}
    for layer in ("bronze", "silver", "gold"):
        for t in sorted(os.listdir(f"{out}/{layer}")) if os.path.isdir(f"{out}/{layer}") else []:
            p = f"{out}/{layer}/{t}"
            if os.path.isdir(f"{p}/_delta_log"):
                fs = DeltaTable(p).file_uris()
                r[f"{layer}/{t}"] = {"files": len(fs), "live_bytes": sum(os.path.getsize(f) for f in fs)}
    r["live_bytes"] = sum(v["live_bytes"] for v in r.values())
    r["disk_bytes"] = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(out) for f in fs)
    return r


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--size", choices=["S", "M"], required=True)
    ap.add_argument("--peer", default="")
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--cmd", help="prefix command of a new contender")
    ap.add_argument("--name", default="contender")
    ap.add_argument("--scope", choices=["all", "silver"], help="what --cmd implements")
    ap.add_argument("--phases", default="load,incr,query,noop")
    ap.add_argument("--out", default=f"{HERE}/out")
    ap.add_argument("--data", default=f"{HERE}/data")
    ap.add_argument("--results", default=f"{HERE}/results.json")
    ap.add_argument("--timeout", type=float, default=3600)
    ap.add_argument("--keep", action="store_true")
    a = ap.parse_args()
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    todo = [p for p in a.peer.split(",") if p]
    cmds = {p: PEERS[p] for p in todo}
    if a.cmd:
        cmds[a.name] = a.cmd
        todo.append(a.name)
        SCOPE[a.name] = a.scope or "all"
    data = f"{a.data}/{a.size}"
    raw = f"{data}/raw"
    exp = json.load(open(f"{data}/expected/expected.json"))
    for d, _, fs in os.walk(raw):  # warm page cache for everyone alike
        for f in fs:
            with open(os.path.join(d, f), "rb") as h:
                while h.read(1 << 22):
                    pass
    empty = tempfile.mkdtemp(prefix="peers_empty_")
    os.makedirs(f"{empty}/base")
    os.makedirs(f"{empty}/change")
    for n in range(a.runs):
        for name in todo:
            scope = SCOPE.get(name, "all")
            out = f"{a.out}/{a.size}_{name}"
            shutil.rmtree(out, ignore_errors=True)
            os.makedirs(out)
            rec = {
                "size": a.size,
                "peer": name,
                "run": n + 1,
                "at": time.strftime("%F %T"),
                "cmd": cmds[name],
                "phases": {},
                "ok": True,
                "errors": [],
            }
            for ph in a.phases.split(","):
                if ph == "query" and scope != "all":
                    continue
                steps = f"{out}/.steps_{ph}.json"
                os.makedirs(f"{HERE}/logs", exist_ok=True)
                log = f"{HERE}/logs/{a.size}_{name}_{ph}.log"
                r = run_phase(
                    shlex.split(cmds[name])
                    + ["--phase", ph, "--raw", empty if ph == "noop" else raw, "--out", out, "--steps", steps],
                    log,
                    a.timeout,
                )
                st = json.load(open(steps)) if os.path.exists(steps) else {"steps": {}, "answers": {}}
                r["steps"] = st["steps"]
                rec["phases"][ph] = r
                if r["rc"] != 0:
                    rec["ok"] = False
                    rec["errors"].append(f"{ph}: rc={r['rc']} see {log}")
                    break
                if ph in ("load", "incr"):
                    v = subprocess.Popen(
                        [
                            PY,
                            f"{HERE}/verify.py",
                            "--data",
                            data,
                            "--out",
                            out,
                            "--state",
                            "load" if ph == "load" else "final",
                            "--scope",
                            scope,
                        ],
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                    o, _ = v.communicate()
                    if v.returncode != 0:
                        rec["ok"] = False
                        rec["errors"].append(f"{ph}: {o.strip() or 'verify crashed'}")
                    r["out"] = sizes(out)
                if ph == "query":
                    want = [[q["lines"], q["revenue"]] for q in exp["point_queries"]]
                    if st["answers"].get("point") != want:
                        rec["ok"] = False
                        rec["errors"].append("point query answers differ")
                    want = [[q["ship_mode"], str(q["lines"]), str(q["quantity"]), q["revenue"]] for q in exp["scan_agg"]]
                    if st["answers"].get("scan") != want:
                        rec["ok"] = False
                        rec["errors"].append("scan answers differ")
            res = json.load(open(a.results)) if os.path.exists(a.results) else []
            res.append(rec)
            with open(a.results + ".tmp", "w") as f:
                json.dump(res, f, indent=1)
            os.replace(a.results + ".tmp", a.results)
            print(
                f"{a.size} {name:8s} run {n + 1} {'OK ' if rec['ok'] else 'FAIL'} "
                + "  ".join(
                    f"{k}: wall {v['wall']} cpu {v['cpu']} rss {v['peak_rss_mb']}MB load {v['load_before']} {v['steps']}"
                    for k, v in rec["phases"].items()
                ),
                *rec["errors"],
                flush=True,
            )
            if not a.keep:
                shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(empty)


if __name__ == "__main__":
    main()
