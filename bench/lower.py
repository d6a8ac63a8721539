#!/usr/bin/env python3
"""What the work of a load must cost on this machine at least, whoever does it: each part is done by the quickest tool that is known.

    lower.py --raw RAW --name S --tables OUT --results LOWER.json      OUT: tables of `lake` after a load

Each part runs three times, on data in the page cache. The bound is the CPU time to parse the text, cast it, keep the latest of each
key, and encode silver once; bronze is encoded as well, which is told apart.
"""

import argparse
import glob
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import duckdb
import polars as pl
import pyarrow.parquet as pq
from deltalake import DeltaTable

from expect import GOLD_DAILY, GOLD_TOP, RAW_COLS
from variants import TYPES

RUNS = 3
THREADS = os.cpu_count()


def cpu_seconds():
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def size_of(files):
    return sum(os.path.getsize(f) for f in files)


class Bounds:
    def __init__(self):
        self.items = {}
        self.con = duckdb.connect()
        self.con.execute(f"set threads={THREADS}; set timezone='UTC'; set preserve_insertion_order=false; set enable_progress_bar=false")

    def item(self, name, work, size=None):
        """Measures a part; its least CPU seconds."""
        walls, cpus = [], []
        for _ in range(RUNS):
            clock, cpu = time.perf_counter(), cpu_seconds()
            work()
            walls.append(time.perf_counter() - clock)
            cpus.append(cpu_seconds() - cpu)
        walls.sort()
        found = {"wall_min": round(walls[0], 3), "wall_med": round(walls[RUNS // 2], 3), "cpu_min": round(min(cpus), 3)}
        found["load"] = round(os.getloadavg()[0], 1)
        if size:
            found["MB"] = round(size / 1e6, 1)
        self.items[name] = found
        print(f"{name:58s} {found}", flush=True)
        return found["cpu_min"]

    def sql(self, name, sql, size=None):
        return self.item(name, lambda: self.con.execute(sql).fetchall(), size)

    def processes(self):
        self.item("exec /bin/true", lambda: subprocess.check_call(["/bin/true"]))
        self.item("python -c pass", lambda: subprocess.check_call([sys.executable, "-c", "pass"]))
        if shutil.which("java"):
            java = ["java", "-Xshare:auto", "-version"]
            self.item("java -version", lambda: subprocess.check_call(java, stderr=subprocess.DEVNULL))

    def parse(self, raw):
        """Reads the raw files as text, column by column."""
        csv, ndjson = sorted(glob.glob(f"{raw}/base/*.csv")), sorted(glob.glob(f"{raw}/base/*.ndjson"))
        shell = lambda command: subprocess.check_call(["sh", "-c", command])
        self.item("base: cat >/dev/null", lambda: shell(f"cat {raw}/base/* | cat >/dev/null"), size_of(csv + ndjson))
        self.item("base: wc -l", lambda: shell(f"wc -l {raw}/base/* >/dev/null"), size_of(csv + ndjson))
        types = "{" + ", ".join(f"{c}: 'VARCHAR'" for c in RAW_COLS) + "}"
        read_csv = f"read_csv({csv!r}, header=true, delim=',', quote='\"', escape='\"', columns={types}, auto_detect=false)"
        read_json = f"read_json({ndjson!r}, format='newline_delimited', columns={types})"
        every = "count(*), " + ", ".join(f"sum(strlen({c}))" for c in RAW_COLS)
        schema = {c: pl.String for c in RAW_COLS}
        lengths = [pl.len()] + [pl.col(c).str.len_bytes().sum() for c in RAW_COLS]
        in_polars = lambda frame: lambda: frame.select(lengths).collect(engine="streaming")
        of_csv = min(
            self.sql("base, CSV: duckdb parses all columns", f"select {every} from {read_csv}", size_of(csv)),
            self.item("base, CSV: polars parses all columns", in_polars(pl.scan_csv(csv, schema=schema)), size_of(csv)),
        )
        of_ndjson = min(
            self.sql("base, NDJSON: duckdb parses all columns", f"select {every} from {read_json}", size_of(ndjson)),
            self.item("base, NDJSON: polars parses all columns", in_polars(pl.scan_ndjson(ndjson, schema=schema)), size_of(ndjson)),
        )
        return of_csv + of_ndjson

    def encode(self, name, files):
        """Writes the rows of Parquet files again, by one thread."""
        tables = [pq.ParquetFile(f).read() for f in files]
        with tempfile.TemporaryDirectory(prefix="lake_bench_") as folder:

            def write():
                for number, table in enumerate(tables):
                    pq.write_table(table, f"{folder}/{number}.parquet")

            cpu = self.item(f"{name}: pyarrow writes Parquet, snappy", write)
            self.items[f"{name}: pyarrow writes Parquet, snappy"]["MB"] = round(size_of(glob.glob(f"{folder}/*")) / 1e6, 1)
        return cpu

    def cast_and_deduplicate(self, bronze):
        """Both in memory: reading Parquet is no part of the bound."""
        read = f"read_parquet({bronze!r}, hive_partitioning=true, hive_types_autocast=false)"
        self.con.execute(f"create table text as select {', '.join(RAW_COLS)} from {read}")
        cast = lambda c: f"try_cast({c} as {TYPES[c]})"
        casts = ", ".join(f"max({cast(c)})" for c in TYPES)
        casting = self.sql("silver: duckdb casts all typed columns, in memory", f"select count(*), {casts} from text")
        self.con.execute(f"""create table keys as
            select workspace_id, {cast("order_id")} o, {cast("line_no")} l, {cast("updated_at")} u from text""")
        self.con.execute("drop table text")
        latest = "select arg_max(rowid, u) r from keys group by workspace_id, o, l"
        deduplicating = self.sql("silver: duckdb finds the latest of each key, in memory", f"select count(*), sum(r) from ({latest})")
        self.con.execute("drop table keys")
        return casting, deduplicating

    def read_again(self, silver):
        """What later steps cannot do without."""
        read = f"read_parquet({silver!r}, hive_partitioning=true, hive_types_autocast=false)"
        self.sql("merge: duckdb reads keys and times of silver", f"select sum(order_id), sum(line_no), max(updated_at) from {read}")
        self.item("merge: pyarrow reads all of silver", lambda: [pq.read_table(f) for f in silver], size_of(silver))
        self.sql("gold: duckdb, daily_revenue", GOLD_DAILY.format(silver=read))
        self.sql("gold: duckdb, top_customers", GOLD_TOP.format(silver=read))
        revenue = "sum(price*(1-discount))::decimal(18,4)"
        self.sql("scan: duckdb", f"select ship_mode, count(*), sum(quantity), {revenue} from {read} group by 1")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--raw", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--tables", required=True)
    parser.add_argument("--results", required=True)
    arguments = parser.parse_args()
    bronze, silver = (DeltaTable(f"{arguments.tables}/{name}").file_uris() for name in ("bronze/order_events", "silver/order_lines"))
    bounds = Bounds()
    bounds.processes()
    bound = {"parse": bounds.parse(arguments.raw)}
    bound["cast"], bound["deduplicate"] = bounds.cast_and_deduplicate(bronze)
    bound["encode silver"] = bounds.encode("silver", silver)
    encode_bronze = bounds.encode("bronze", bronze)
    bounds.read_again(silver)
    found = {"size": arguments.name, "threads": THREADS, "items": bounds.items, "bound": bound, "encode_bronze": encode_bronze}
    with open(arguments.results, "w") as file:
        json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
