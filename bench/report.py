#!/usr/bin/env python3
"""report.py [results.json] -> markdown tables (min / median over the verified runs)"""

import json, os, sys
from collections import defaultdict

HERE = os.path.dirname(os.path.abspath(__file__))
R = [r for r in json.load(open(sys.argv[1] if len(sys.argv) > 1 else f"{HERE}/results.json"))]
ORDER = ["duckdb", "polars", "dlt", "spark"]


def mm(v, d=1):
    v = sorted(x for x in v if x is not None)
    if not v:
        return "-"
    f = lambda x: f"{x:.{d}f}"
    return (
        f(v[0]) if len(v) == 1 else f"{f(v[0])} / {f(v[len(v) // 2] if len(v) % 2 else (v[len(v) // 2 - 1] + v[len(v) // 2]) / 2)}"
    )


for size in ("S", "M"):
    rs = defaultdict(list)
    for r in R:
        if r["size"] == size:
            rs[r["peer"]].append(r)
    if not rs:
        continue
    peers = [p for p in ORDER if p in rs] + [p for p in rs if p not in ORDER]
    print(f"\n### Size {size}  (min / median; wall s unless said)\n")
    print("| | " + " | ".join(f"{p} (n={sum(r['ok'] for r in rs[p])} ok of {len(rs[p])})" for p in peers) + " |")
    print("|---|" + "---|" * len(peers))
    good = {p: [r for r in rs[p] if r["ok"]] for p in peers}
    g = lambda r, ph, k, s=None: r["phases"].get(ph, {}).get("steps", {}).get(k) if s else r["phases"].get(ph, {}).get(k)

    def row(label, fn, d=1):
        print(f"| {label} | " + " | ".join(mm([fn(r) for r in good[p]], d) for p in peers) + " |")

    d = 2 if size == "S" else 1
    for ph, nm in (("load", "initial load"), ("incr", "change batch")):
        row(f"**{nm}: wall**", lambda r: g(r, ph, "wall"), d)
        row(f"**{nm}: CPU s**", lambda r: g(r, ph, "cpu"), d)
        for st in ("ingest", "silver", "gold"):
            row(f"{nm}: {st} wall", lambda r: g(r, ph, st, 1), d)
            row(f"{nm}: {st} CPU s", lambda r: g(r, ph, "cpu_" + st, 1), d)
        row(f"{nm}: peak RSS MB (tree)", lambda r: g(r, ph, "peak_rss_mb"), 0)
    for k in ("point_first", "point_median", "scan_first", "scan_best"):
        row(f"query: {k} ms", lambda r: (lambda x: None if x is None else x * 1000)(g(r, "query", k, 1)), 1)
    row("query process: wall", lambda r: g(r, "query", "wall"), 2)
    row("query process: CPU s", lambda r: g(r, "query", "cpu"), 2)
    row("**noop (cold start): wall**", lambda r: g(r, "noop", "wall"), 2)
    row("noop: CPU s", lambda r: g(r, "noop", "cpu"), 2)
    row("noop: peak RSS MB", lambda r: g(r, "noop", "peak_rss_mb"), 0)
    tot = lambda r, k: sum(v[k] for v in r["phases"].values())
    row("**total of all phases: wall**", lambda r: tot(r, "wall"), d)
    row("**total: CPU s**", lambda r: tot(r, "cpu"), d)
    B = lambda r, ph, t: (r["phases"].get(ph, {}).get("out", {}).get(t) or {}).get("live_bytes")
    MBs = lambda x: None if x is None else x / 1e6
    for t in ("bronze/order_events", "silver/order_lines", "gold/daily_revenue"):
        row(f"final live MB: {t}", lambda r: MBs(B(r, "incr", t)), 1)
    row(
        "final files: silver/order_lines",
        lambda r: (r["phases"].get("incr", {}).get("out", {}).get("silver/order_lines") or {}).get("files"),
        0,
    )
    row("disk MB incl. history", lambda r: MBs(r["phases"].get("incr", {}).get("out", {}).get("disk_bytes")), 1)
    row("load average at start", lambda r: r["phases"]["load"]["load_before"], 1)
    for p in peers:
        for r in rs[p]:
            if not r["ok"]:
                print(f"\nFAILED {p} run {r['run']}: {r['errors']}")
lw = f"{HERE}/lower_M.json"
if os.path.exists(lw):
    print(
        "\n### Lower bounds, size M (wall min / median, CPU min, s)\n\n| item | MB | wall min | wall med | CPU |\n|---|---|---|---|---|"
    )
    for k, v in json.load(open(lw)).items():
        if isinstance(v, dict):
            print(f"| {k} | {v.get('MB', '')} | {v['wall_min']} | {v['wall_med']} | {v['cpu_min']} |")
        else:
            print(f"| {k} | {v / 1e6:.1f} | | | |")
