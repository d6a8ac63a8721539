#!/usr/bin/env python3
"""Prints results as Markdown tables: the least and the median of the verified runs.

report.py RESULTS.json [LOWER.json]
"""

import json
import sys
from collections import defaultdict
from statistics import median

ORDER = ["lake", "duckdb", "polars", "dlt", "spark"]


def least_and_median(values, digits=1):
    values = sorted(v for v in values if v is not None)
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{values[0]:.{digits}f} / {median(values):.{digits}f}"


def in_order(names):
    return [n for n in ORDER if n in names] + [n for n in names if n not in ORDER]


def of_phase(record, phase, key):
    return record["phases"].get(phase, {}).get(key)


def of_step(record, phase, step):
    return record["phases"].get(phase, {}).get("steps", {}).get(step)


def of_table(record, table, key):
    return (record["phases"].get("incr", {}).get("out", {}).get(table) or {}).get(key)


def times(value, factor):
    return None if value is None else value * factor


class Table:
    """A Markdown table with a column for each contender."""

    def __init__(self, title, records):
        self.columns = in_order(list(dict.fromkeys(r["peer"] for r in records)))
        self.all = {name: [r for r in records if r["peer"] == name] for name in self.columns}
        self.right = {name: [r for r in rows if r["ok"]] for name, rows in self.all.items()}
        print(f"\n### {title}  (least / median; seconds of wall time unless said)\n")
        heads = [f"{name} ({len(self.right[name])} of {len(self.all[name])} right)" for name in self.columns]
        print("| | " + " | ".join(heads) + " |")
        print("|---|" + "---|" * len(heads))

    def row(self, label, value, digits=1):
        cells = [[value(record) for record in self.right[name]] for name in self.columns]
        if any(v is not None for cell in cells for v in cell):
            print(f"| {label} | " + " | ".join(least_and_median(cell, digits) for cell in cells) + " |")

    def failures(self):
        for name in self.columns:
            for record in self.all[name]:
                if not record["ok"]:
                    print(f"\nFAILED: {name}, run {record['run']}: {record['errors']}")


def workload(size, records):
    table = Table(f"Workload, {size}", records)
    digits = 1 if size == "M" else 2
    for phase, name in (("load", "initial load"), ("incr", "change batch")):
        table.row(f"**{name}**", lambda r: of_phase(r, phase, "wall"), digits)
        table.row(f"**{name}: CPU s**", lambda r: of_phase(r, phase, "cpu"), digits)
        for step in ("start", "ingest", "silver", "gold"):
            table.row(f"{name}: {step}", lambda r: of_step(r, phase, step), digits)
            table.row(f"{name}: {step} CPU s", lambda r: of_step(r, phase, f"cpu_{step}"), digits)
        table.row(f"{name}: peak memory of all processes, MB", lambda r: of_phase(r, phase, "peak_rss_mb"), 0)
    for step in ("point_first", "point_median", "scan_first", "scan_best"):
        table.row(f"query: {step} ms", lambda r: times(of_step(r, "query", step), 1000), 1)
    table.row("queries, the whole process", lambda r: of_phase(r, "query", "wall"), 2)
    table.row("queries: CPU s", lambda r: of_phase(r, "query", "cpu"), 2)
    table.row("**no-op, from a cold start**", lambda r: of_phase(r, "noop", "wall"), 2)
    table.row("no-op: CPU s", lambda r: of_phase(r, "noop", "cpu"), 2)
    table.row("no-op: peak memory, MB", lambda r: of_phase(r, "noop", "peak_rss_mb"), 0)
    table.row("**all phases**", lambda r: sum(p["wall"] for p in r["phases"].values()), digits)
    table.row("**all phases: CPU s**", lambda r: sum(p["cpu"] for p in r["phases"].values()), digits)
    for name in ("bronze/order_events", "silver/order_lines", "gold/daily_revenue"):
        table.row(f"{name} at the end, MB", lambda r: times(of_table(r, name, "live_bytes"), 1e-6), 1)
    table.row("silver/order_lines at the end, files", lambda r: of_table(r, "silver/order_lines", "files"), 0)
    on_disk = lambda r: times(r["phases"].get("incr", {}).get("out", {}).get("disk_bytes"), 1e-6)
    table.row("on disk with history, MB", on_disk, 1)
    table.row("load average at the start", lambda r: of_phase(r, "load", "load_before"), 1)
    table.failures()


def changes(size, records):
    table = Table(f"Changes onto a loaded table, {size}", records)
    digits = 1 if size == "M" else 2
    for percent, shape in dict.fromkeys((r["percent"], r["shape"]) for r in records):
        own = lambda r: (r["percent"], r["shape"]) == (percent, shape)
        label = f"{percent} % of the keys, {shape}"
        table.row(f"**{label}**", lambda r: of_phase(r, "incr", "wall") if own(r) else None, digits)
        table.row(f"{label}: CPU s", lambda r: of_phase(r, "incr", "cpu") if own(r) else None, digits)
        for step in ("ingest", "silver", "gold"):
            table.row(f"{label}: {step}", lambda r: of_step(r, "incr", step) if own(r) else None, digits)
    table.failures()


def bounds(lower, records):
    size = lower["size"]
    print(f"\n### Lower bounds on this machine, {size}  (seconds)\n")
    print("| item | MB | wall, least | wall, median | CPU |")
    print("|---|---|---|---|---|")
    for name, item in lower["items"].items():
        print(f"| {name} | {item.get('MB', '')} | {item['wall_min']} | {item['wall_med']} | {item['cpu_min']} |")
    total, threads = sum(lower["bound"].values()), lower["threads"]
    parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in lower["bound"].items())
    print(f"\nThe bound of the load: {parts}; together {total:.2f} s of CPU, {total / threads:.2f} s on {threads} cores.")
    print(f"It leaves out what else a load must do, such as to encode bronze: {lower['encode_bronze']:.2f} s of CPU.\n")
    loads = [r for r in records if r["size"] == size and r["ok"] and "load" in r["phases"]]
    for name in in_order(list(dict.fromkeys(r["peer"] for r in loads))):
        own = [r["phases"]["load"] for r in loads if r["peer"] == name]
        cpu, wall = min(p["cpu"] for p in own), min(p["wall"] for p in own)
        ratios = f"{cpu / total:.2f} in CPU, {wall * threads / total:.2f} in wall time"
        print(f"* {name}: load / bound = {ratios} ({cpu:.2f} s of CPU, {wall:.2f} s)")


def report(records, lower=None):
    kinds = defaultdict(list)
    for record in records:
        kinds[("changes" if "shape" in record else "workload", record["size"])].append(record)
    for (kind, size), rows in kinds.items():
        (changes if kind == "changes" else workload)(size, rows)
    if lower:
        bounds(lower, records)


def main():
    with open(sys.argv[1]) as file:
        records = json.load(file)
    lower = None
    if len(sys.argv) > 2:
        with open(sys.argv[2]) as file:
            lower = json.load(file)
    report(records, lower)


if __name__ == "__main__":
    main()
