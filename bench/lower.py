#!/usr/bin/env python3
"""lower.py --size S|M --tables DIR   physical lower bounds on this machine; DIR = a kept output of a peer (after load; for the incr part after incr).
Each item runs 3 times; wall min/median and CPU min (all threads). Data in page cache. Writes lower_<size>.json."""

import argparse, glob, json, os, resource, shutil, subprocess, sys, time
import duckdb, polars as pl, pyarrow as pa, pyarrow.parquet as pq, pyarrow.dataset as ds
from deltalake import DeltaTable

HERE = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser()
ap.add_argument("--size", required=True)
ap.add_argument("--tables", required=True)
ap.add_argument("--n", type=int, default=3)
a = ap.parse_args()
raw = f"{HERE}/data/{a.size}/raw"
tmp = f"{HERE}/out/.lower"
sys.path.insert(0, f"{HERE}/peers")
from common import RAW_COLS

csv, nd = sorted(glob.glob(f"{raw}/base/*.csv")), sorted(glob.glob(f"{raw}/base/*.ndjson"))
res = {}


def cpu():
    s, c = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return s.ru_utime + s.ru_stime + c.ru_utime + c.ru_stime


def item(name, fn, nbytes=None):
    w, c = [], []
    for _ in range(a.n):
        t, k = time.perf_counter(), cpu()
        fn()
        w.append(time.perf_counter() - t)
        c.append(cpu() - k)
    w.sort()
    res[name] = {
        "wall_min": round(w[0], 3),
        "wall_med": round(w[len(w) // 2], 3),
        "cpu_min": round(min(c), 3),
        "load": round(os.getloadavg()[0], 1),
    }
    if nbytes:
        res[name]["MB"] = round(nbytes / 1e6, 1)
    print(f"{name:58s} {res[name]}", flush=True)


con = duckdb.connect()
con.execute("set threads=2; set timezone='UTC'; set preserve_insertion_order=false")
sz = lambda fs: sum(os.path.getsize(f) for f in fs)
item("exec /bin/true", lambda: subprocess.check_call(["/bin/true"]))
item("python -c pass", lambda: subprocess.check_call([f"{HERE}/venv/bin/python", "-c", "pass"]))
item("java -version", lambda: subprocess.check_call(["java", "-Xshare:auto", "-version"], stderr=subprocess.DEVNULL))
item("base raw: cat >/dev/null", lambda: subprocess.check_call(["sh", "-c", f"cat {raw}/base/* | cat >/dev/null"]), sz(csv + nd))
item("base raw: wc -l", lambda: subprocess.check_call(["sh", "-c", f"wc -l {raw}/base/* >/dev/null"]), sz(csv + nd))
types = "{" + ", ".join(f"{c}: 'VARCHAR'" for c in RAW_COLS) + "}"
RC = f"read_csv({csv!r}, header=true, delim=',', quote='\"', escape='\"', columns={types}, auto_detect=false)"
RJ = f"read_json({nd!r}, format='newline_delimited', columns={types})"
allc = "count(*), " + ", ".join(f"sum(strlen({c}))" for c in RAW_COLS)
item("base CSV:    duckdb parse, count(*)", lambda: con.execute(f"select count(*) from {RC}").fetchall(), sz(csv))
item("base CSV:    duckdb parse, all columns", lambda: con.execute(f"select {allc} from {RC}").fetchall(), sz(csv))
item("base NDJSON: duckdb parse, count(*)", lambda: con.execute(f"select count(*) from {RJ}").fetchall(), sz(nd))
item("base NDJSON: duckdb parse, all columns", lambda: con.execute(f"select {allc} from {RJ}").fetchall(), sz(nd))
S = {k: pl.String for k in RAW_COLS}
agg = [pl.len()] + [pl.col(c).str.len_bytes().sum() for c in RAW_COLS]
item("base CSV:    polars parse, count", lambda: pl.scan_csv(csv, schema=S).select(pl.len()).collect(engine="streaming"), sz(csv))
item("base CSV:    polars parse, all columns", lambda: pl.scan_csv(csv, schema=S).select(agg).collect(engine="streaming"), sz(csv))
item("base NDJSON: polars parse, all columns", lambda: pl.scan_ndjson(nd, schema=S).select(agg).collect(engine="streaming"), sz(nd))


def load(path, ver=None, columns=None):
    d = DeltaTable(path, version=ver)
    fs = d.file_uris()
    return fs


br = load(f"{a.tables}/bronze/order_events", 0)
si = load(f"{a.tables}/silver/order_lines", 0)
item("bronze v0: pyarrow read, all columns", lambda: [pq.read_table(f) for f in br], sz(br))
bt = [pq.ParquetFile(f).read() for f in br]


def wr(tabs, **kw):
    shutil.rmtree(tmp, ignore_errors=True)
    os.makedirs(tmp)
    for i, t in enumerate(tabs):
        pq.write_table(t, f"{tmp}/{i}.parquet", **kw)


item("bronze v0: pyarrow parquet write, snappy, 1 thread", lambda: wr(bt), sz(br))
res["bronze bytes pyarrow"] = sz(glob.glob(f"{tmp}/*"))
item(
    "bronze v0: pyarrow parquet write, no dictionary",
    lambda: wr(bt, use_dictionary=["op", "segment", "ship_mode", "status"]),
    sz(br),
)
del bt
RB = f"read_parquet({br!r}, hive_partitioning=true, hive_types_autocast=false)"
item(
    "silver: duckdb read+cast all typed columns of bronze",
    lambda: (
        con.execute(f"""select count(*), sum(try_cast(order_id as bigint)), sum(try_cast(line_no as int)), sum(try_cast(customer_id as bigint)), sum(try_cast(part_id as bigint)),
   sum(try_cast(quantity as int)), sum(try_cast(price as decimal(12,2))), sum(try_cast(discount as decimal(4,2))), sum(try_cast(tax as decimal(4,2))), max(try_cast(order_date as date)), max(try_cast(ship_date as date)), max(try_cast(updated_at as timestamptz)) from {RB}""").fetchall()
    ),
)
con.execute(
    f"create table k as select workspace_id, try_cast(order_id as bigint) o, try_cast(line_no as int) l, try_cast(updated_at as timestamptz) u from {RB}"
)
item(
    "silver: duckdb dedup (group by key, arg_max) in memory",
    lambda: con.execute("select count(*), sum(r) from (select arg_max(rowid, u) r from k group by workspace_id, o, l)").fetchall(),
)
con.execute("drop table k")
st = [pq.ParquetFile(f).read() for f in si]
item("silver v0: pyarrow parquet write, snappy, 1 thread", lambda: wr(st), sz(si))
res["silver bytes pyarrow"] = sz(glob.glob(f"{tmp}/*"))
del st
RS = f"read_parquet({si!r}, hive_partitioning=true, hive_types_autocast=false)"
item(
    "merge: read the keys + updated_at of silver v0",
    lambda: con.execute(f"select sum(order_id), sum(line_no), max(updated_at) from {RS}").fetchall(),
)
item("merge: pyarrow read silver v0, all columns", lambda: [pq.read_table(f) for f in si], sz(si))
REV = "sum(price*(1-discount))::decimal(18,4)"
item(
    "gold: duckdb daily_revenue",
    lambda: (
        con.execute(
            f"select workspace_id, order_date, ship_mode, count(*), sum(quantity), {REV} from {RS} group by all"
        ).fetch_arrow_table()
        if hasattr(con, "fetch_arrow_table")
        else con.execute(
            f"select workspace_id, order_date, ship_mode, count(*), sum(quantity), {REV} from {RS} group by all"
        ).fetchall()
    ),
)
item(
    "gold: duckdb top_customers",
    lambda: (
        con.execute(f"""select * from (select *, row_number() over (partition by workspace_id order by r desc, customer_id) k from (
   select workspace_id, customer_id, count(distinct order_id), {REV} r from {RS} group by all)) where k<=100""").fetchall()
    ),
)
item(
    "scan: duckdb aggregate on silver",
    lambda: con.execute(f"select ship_mode, count(*), sum(quantity), {REV} from {RS} group by 1").fetchall(),
)
shutil.rmtree(tmp, ignore_errors=True)
json.dump(res, open(f"{HERE}/lower_{a.size}.json", "w"), indent=1)
