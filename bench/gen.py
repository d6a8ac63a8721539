#!/usr/bin/env python3
"""Deterministic generator of the RAW feed (see WORKLOAD.md) and of the expected results.

  gen.py --size S|M [--seed 42] [--root data]

Writes  <root>/<size>/raw/base/day_NNN.{csv,ndjson}    initial daily batches
        <root>/<size>/raw/change/chg_NNN.{csv,ndjson}  the change batch
        <root>/<size>/expected/*.parquet, expected.json
The expected results are computed by DuckDB from the *typed* event table, before anything is
rendered to text, so they do not depend on any peer's (or DuckDB's own) CSV/JSON reader.
"""

import argparse, hashlib, json, os, shutil, subprocess, sys, time
import duckdb, numpy as np, pyarrow as pa

HERE = os.path.dirname(os.path.abspath(__file__))
DAYS = {"S": 10, "M": 30}
CHG_FILES = 2
ap = argparse.ArgumentParser()
ap.add_argument("--size", choices=["S", "M"], required=True)
ap.add_argument("--seed", type=int, default=42)
ap.add_argument("--root", default=os.path.join(HERE, "data"))
A = ap.parse_args()
ND = DAYS[A.size]
tpch = os.path.join(A.root, "tpch")
if not os.path.exists(f"{tpch}/lineitem.parquet"):
    os.makedirs(tpch, exist_ok=True)
    subprocess.check_call(
        [
            os.path.join(os.path.dirname(sys.executable), "tpchgen-cli"),
            "parquet",
            "-s",
            "1",
            "--output-dir",
            tpch,
            "--tables",
            "orders,lineitem,customer",
        ]
    )
root = os.path.join(A.root, A.size)
shutil.rmtree(root, ignore_errors=True)
for d in ("raw/base", "raw/change", "expected"):
    os.makedirs(f"{root}/{d}")

U = np.uint64


def mix(x):  # splitmix64
    with np.errstate(over="ignore"):
        x = x + U(0x9E3779B97F4A7C15)
        x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
        return x ^ (x >> U(31))


def rnd(key, i):
    return mix(mix(key ^ mix(np.array([A.seed * 1000 + i], dtype=U))))


t0 = time.time()
con = duckdb.connect()
con.execute("set threads=2; set timezone='UTC'; set memory_limit='10GB'")
con.execute(f"set temp_directory='{root}/tmp'")
q = f"""select o_orderkey::bigint order_id, l_linenumber::int line_no, o_custkey::bigint customer_id, c_mktsegment segment,
       l_partkey::bigint part_id, l_quantity::int quantity, l_extendedprice::decimal(12,2) price,
       l_discount::decimal(4,2) discount, l_tax::decimal(4,2) tax, trim(l_shipmode) ship_mode, o_orderstatus status,
       o_orderdate order_date, l_shipdate ship_date, trim(l_comment) as cmt
    from '{tpch}/lineitem.parquet' join '{tpch}/orders.parquet' on l_orderkey=o_orderkey
    join '{tpch}/customer.parquet' on o_custkey=c_custkey"""
con.execute(f"create table src as {q}")
if A.size == "S":  # 1 order in 60
    ok = con.execute("select distinct order_id from src order by 1").fetchnumpy()["order_id"].astype(U)
    keep = pa.table({"order_id": ok[rnd(ok, 9) % U(60) == 0].astype("int64")})
    con.execute("delete from src where order_id not in (select order_id from keep)")
con.execute("create table s2 as select *, row_number() over (order by order_id,line_no)-1 rn from src")
k = con.execute("select order_id*8+line_no k, customer_id c from s2 order by rn").fetchnumpy()
key, cust = k["k"].astype(U), k["c"].astype(U)
# 8 workspaces, skewed 50/20/10/8/5/4/2/1 %, a function of the customer
edges = np.cumsum([50, 20, 10, 8, 5, 4, 2, 1])
ws = np.searchsorted(edges, (rnd(cust, 1) % U(100)).astype("int64"), side="right") + 1
R = {f"r{i}": (rnd(key, i) >> U(1)).astype("int64") for i in (1, 2, 3, 4, 5)}
rt = pa.table({"rn": np.arange(len(key), dtype="int64"), "ws": ws.astype("int32"), **R})
con.execute(f"""create table b as select order_id, line_no, format('ws-{{:02d}}', ws) workspace_id, customer_id, segment, part_id,
   quantity, price, discount, tax, ship_mode, status, order_date, ship_date,
   case when r3 % 16 = 0 then 'said "ok", ' || cmt when r3 % 64 = 1 then 'caf\u00e9 ' || cmt else cmt end as comment,
   least({ND}-1, (date_diff('day', date '1992-01-01', order_date) * {ND}) // 2406)::int d, r1,r2,r3,r4,r5,
   timestamp '2024-01-01' + to_days(d) + to_seconds(r1 % 80000) + to_milliseconds((r1 // 1048576) % 1000) ts
   from s2 join rt using (rn)""")
con.execute("drop table src; drop table s2")
del rt, R, key, cust, ws, k

COLS = (
    "workspace_id, customer_id, segment, part_id, quantity, price, discount, tax, ship_mode, status, order_date, ship_date, comment"
)
CH = 1000  # batch number of the change files
nulls = "workspace_id, null customer_id, null segment, null part_id, null quantity, null price, null discount, null tax, null ship_mode, null status, null order_date, null ship_date, null as comment"


def repl(**kw):  # COLS with replacements
    return ", ".join(f"{kw[c.strip()]} as {c.strip()}" if c.strip() in kw else c.strip() for c in COLS.split(","))


upd1 = repl(quantity="1+(quantity+7)%50", price="price+10.01", discount="((r3%11)/100)::decimal(4,2)", status="'F'")
upd2 = repl(quantity="1+(quantity+13)%50", price="price+25.50", discount="((r5%11)/100)::decimal(4,2)", status="'U'")
upd3 = repl(quantity="1+(quantity+17)%50", price="price+31.07", discount="((r5%7)/100)::decimal(4,2)", status="'V'")
cts = f"timestamp '2024-01-01' + to_days({ND}+1) + to_seconds(r4 // 100 % 70000) + to_milliseconds(r5 % 1000)"
con.execute(f"""create table ev as
  -- base
  select 'upsert' op, order_id, line_no, {COLS}, ts updated_at, null::int defect, d batch, 0 pri from b
  union all  -- 1% redelivered unchanged, next day
  select 'upsert', order_id, line_no, {COLS}, ts, null, least(d+1,{ND}-1), 1 from b where r2 % 100 = 0
  union all  -- 1% newer version, 1..3 days later (same day at the end)
  select 'upsert', order_id, line_no, {upd1}, case when d+1+r3%3 < {ND} then ts + to_days((1+r3%3)::int) else ts + to_seconds(1+r3%5000) end,
         null, case when d+1+r3%3 < {ND} then d+1+r3%3 else d end, 1 from b where r2 % 100 = 1
  union all  -- 1% invalid; later updated_at: would win if not quarantined
  select 'upsert', order_id, line_no, {upd1}, ts + to_seconds(6000), (r3 % 8)::int, d, 2 from b where r2 % 100 = 2
  -- change batch: 5% updates (1 in 50 of them stale), 1% deletes (1 in 50 stale), 2% inserts
  union all
  select 'upsert', order_id, line_no, {upd2}, case when r5 % 50 = 0 then ts - to_days(400) else {cts} end, null, {CH} + r5 // 1000 % {CHG_FILES}, 0 from b where r4 % 100 < 5
  union all
  select 'delete', order_id, line_no, {nulls}, case when r5 % 50 = 3 then ts - to_days(400) else {cts} end, null, {CH} + r5 // 1000 % {CHG_FILES}, 0 from b where r4 % 100 = 5
  union all
  select 'upsert', order_id + 10000000, line_no, {COLS}, {cts}, null, {CH} + r5 // 1000 % {CHG_FILES}, 0 from b where r4 % 100 in (6, 7)
  union all  -- 2% of the updates/inserts are followed by a newer version
  select 'upsert', order_id + case when r4%100<5 then 0 else 10000000 end, line_no, {upd3}, {cts} + to_seconds(3600), null, {CH} + r5 // 7000 % {CHG_FILES}, 1 from b where r4 % 100 in (0,1,2,3,4,6,7) and r5 % 50 = 1
  union all  -- deletes of keys that never existed
  select 'delete', order_id + 20000000, line_no, {nulls}, {cts}, null, {CH} + r5 // 1000 % {CHG_FILES}, 1 from b where r4 % 100 = 5 and r5 % 50 = 4
  union all  -- 1% invalid
  select 'upsert', order_id, line_no, {upd3}, {cts} + to_seconds(7000), (r3 % 8)::int, {CH} + r5 // 1000 % {CHG_FILES}, 2 from b where r4 % 100 < 8 and r5 % 100 = 2
""")
con.execute("drop table b")
print(f"events: {con.execute('select count(*) from ev').fetchone()[0]}  {time.time() - t0:.1f}s", flush=True)

# ---------------------------------------------------------------- render to text
TXT = """op, case defect when 2 then null else order_id end order_id, line_no,
  case defect when 3 then null else workspace_id end workspace_id, customer_id, segment, part_id,
  case defect when 6 then 0 else quantity end quantity,
  case defect when 0 then '-' || price::varchar when 1 then 'N/A' else price::varchar end price,
  case defect when 7 then '1.50' else discount::varchar end discount, tax::varchar tax, ship_mode, status,
  case defect when 4 then '1998-02-30' else order_date::varchar end order_date, ship_date::varchar ship_date, comment,
  case defect when 5 then 'yesterday' else strftime(updated_at, '%Y-%m-%dT%H:%M:%S.%gZ') end updated_at"""
files = []
for (bt,) in con.execute("select distinct batch from ev order by 1").fetchall():
    fmt = "ndjson" if (bt % 3 == 2 if bt < CH else bt % 2 == 1) else "csv"
    p = f"{root}/raw/base/day_{bt:03d}.{fmt}" if bt < CH else f"{root}/raw/change/chg_{bt - CH:03d}.{fmt}"
    opt = "(format json)" if fmt == "ndjson" else "(format csv, header true)"
    con.execute(f"copy (select {TXT} from ev where batch={bt} order by pri, updated_at, order_id, line_no) to '{p}' {opt}")
    h = hashlib.sha256()
    with open(p, "rb") as f:
        for c in iter(lambda: f.read(1 << 20), b""):
            h.update(c)
    files.append({"file": os.path.relpath(p, root), "bytes": os.path.getsize(p), "sha256": h.hexdigest()[:16]})
print(f"raw written {sum(f['bytes'] for f in files) / 1e6:.0f} MB  {time.time() - t0:.1f}s", flush=True)

# ---------------------------------------------------------------- expected results
REASON = "case defect when 0 then 'negative_price' when 1 then 'bad_price' when 2 then 'null_key' when 3 then 'null_workspace' when 4 then 'bad_date' when 5 then 'bad_updated_at' when 6 then 'bad_quantity' when 7 then 'bad_discount' end"
from expect import silver_digest, GOLD_DAILY, GOLD_TOP

exp = {"size": A.size, "seed": A.seed, "files": files, "raw_bytes": sum(f["bytes"] for f in files)}
for state, cond in (("load", f"batch < {CH}"), ("final", "true")):
    con.execute(f"""create or replace table silver as select * exclude (op, defect, batch, pri, rn) from
       (select *, row_number() over (partition by workspace_id, order_id, line_no order by updated_at desc) rn from ev where defect is null and {cond})
       where rn = 1 and op <> 'delete'""")
    con.execute(f"copy ({GOLD_DAILY.format(silver='silver')} order by all) to '{root}/expected/{state}_daily_revenue.parquet'")
    con.execute(f"copy ({GOLD_TOP.format(silver='silver')} order by all) to '{root}/expected/{state}_top_customers.parquet'")
    exp[state] = {
        "bronze_rows": con.execute(f"select count(*) from ev where {cond}").fetchone()[0],
        "bronze_by_workspace": {
            str(a): b
            for a, b in con.execute(
                f"select case defect when 3 then null else workspace_id end w, count(*) from ev where {cond} group by 1 order by 1"
            ).fetchall()
        },
        "quarantine": dict(
            con.execute(f"select {REASON} r, count(*) from ev where defect is not null and {cond} group by 1 order by 1").fetchall()
        ),
        "silver": silver_digest(con, "silver"),
        "gold_daily_rows": con.execute(f"select count(*) from '{root}/expected/{state}_daily_revenue.parquet'").fetchone()[0],
        "gold_revenue_total": str(
            con.execute(f"select sum(revenue) from '{root}/expected/{state}_daily_revenue.parquet'").fetchone()[0]
        ),
        "gold_top_rows": con.execute(f"select count(*) from '{root}/expected/{state}_top_customers.parquet'").fetchone()[0],
    }
# point-query keys (20) and their expected revenue; scan aggregate
pq = con.execute(f"""select workspace_id, order_date::varchar, sum(lines)::bigint, sum(revenue)::varchar from '{root}/expected/final_daily_revenue.parquet'
   group by 1,2 order by md5(workspace_id || order_date::varchar) limit 20""").fetchall()
exp["point_queries"] = [{"workspace_id": a, "order_date": b, "lines": c, "revenue": d} for a, b, c, d in pq]
exp["scan_agg"] = [
    {"ship_mode": a, "lines": b, "quantity": c, "revenue": str(d)}
    for a, b, c, d in con.execute(
        "select ship_mode, count(*), sum(quantity)::bigint, sum(price*(1-discount))::decimal(18,4) from silver group by 1 order by 1"
    ).fetchall()
]
with open(f"{root}/expected/expected.json", "w") as f:
    json.dump(exp, f, indent=1)
with open(f"{root}/raw/queries.json", "w") as f:
    json.dump([{"workspace_id": p["workspace_id"], "order_date": p["order_date"]} for p in exp["point_queries"]], f)
shutil.rmtree(f"{root}/tmp", ignore_errors=True)
print(json.dumps({k: exp[k] for k in ("raw_bytes", "load", "final")}, indent=1), f"{time.time() - t0:.1f}s")
