#!/usr/bin/env python3
"""Writes the raw feed of WORKLOAD.md and what must come of it, the same bytes each time.

    gen.py --size S|M [--seed 42] [--root DATA]

    <root>/<size>/raw/base/day_NNN.{csv,ndjson}       daily batches
    <root>/<size>/raw/change/chg_NNN.{csv,ndjson}     the change batch
    <root>/<size>/raw/queries.json                    the point queries
    <root>/<size>/expected/                           the results

The results are computed from the typed events, before anything is written as text, so they rest on nobody's reader of CSV or
JSON; only the checksum of bronze is of the text, as Python's own `csv` and `json` read it. The order lines are those of TPC-H.
"""

import argparse
import csv
import glob
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time

import duckdb
import numpy as np
import pyarrow as pa

from expect import GOLD_DAILY, GOLD_TOP, RAW_COLS, silver_digest
from place import DATA

DAYS = {"S": 10, "M": 30}
CHANGE_FILES = 2
CHANGE = 1000
"""The number of the first change file; those of base files are days."""

U = np.uint64
COLS = [c for c in RAW_COLS if c not in ("op", "order_id", "line_no", "updated_at")]

# The text of an event: what is wrong with it is put in here.
TEXT = """op, case defect when 2 then null else order_id end order_id, line_no,
  case defect when 3 then null else workspace_id end workspace_id, customer_id, segment, part_id,
  case defect when 6 then 0 else quantity end quantity,
  case defect when 0 then '-' || price::varchar when 1 then 'N/A' else price::varchar end price,
  case defect when 7 then '1.50' else discount::varchar end discount, tax::varchar tax, ship_mode, status,
  case defect when 4 then '1998-02-30' else order_date::varchar end order_date, ship_date::varchar ship_date, comment,
  case defect when 5 then 'yesterday' else strftime(updated_at, '%Y-%m-%dT%H:%M:%S.%gZ') end updated_at"""
REASONS = "negative_price bad_price null_key null_workspace bad_date bad_updated_at bad_quantity bad_discount".split()
REASON = f"case defect {' '.join(f'when {n} then {name!r}' for n, name in enumerate(REASONS))} end"


def mix(x):
    """splitmix64"""
    with np.errstate(over="ignore"):
        x = x + U(0x9E3779B97F4A7C15)
        x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
        return x ^ (x >> U(31))


def replaced(**columns):
    """The columns of a line, some of them changed."""
    return ", ".join(f"{columns[c]} as {c}" if c in columns else c for c in COLS)


class Generator:
    def __init__(self, size, seed, root):
        self.size, self.seed, self.root, self.folder = size, seed, root, f"{root}/{size}"
        self.days = DAYS[size]
        self.clock = time.time()
        shutil.rmtree(self.folder, ignore_errors=True)
        for folder in ("raw/base", "raw/change", "expected"):
            os.makedirs(f"{self.folder}/{folder}")
        self.con = duckdb.connect()
        self.con.execute("set threads=2; set timezone='UTC'; set memory_limit='10GB'; set enable_progress_bar=false")
        self.con.execute(f"set temp_directory='{self.folder}/tmp'")

    def say(self, text):
        print(f"{text}  {time.time() - self.clock:.1f}s", flush=True)

    def random(self, key, stream):
        """Numbers that depend on the key, the stream and the seed only."""
        return mix(mix(key ^ mix(np.array([self.seed * 1000 + stream], dtype=U))))

    def generate(self):
        self.lines(tpch(self.root))
        self.events()
        self.say(f"events: {self.one('select count(*) from ev')}")
        files = self.write_files()
        self.say(f"raw written {sum(f['bytes'] for f in files) / 1e6:.0f} MB")
        expected = self.expect(files)
        add_bronze_text(expected, self.folder)
        with open(f"{self.folder}/expected/expected.json", "w") as file:
            json.dump(expected, file, indent=1)
        with open(f"{self.folder}/raw/queries.json", "w") as file:
            json.dump([{k: q[k] for k in ("workspace_id", "order_date")} for q in expected["point_queries"]], file)
        shutil.rmtree(f"{self.folder}/tmp", ignore_errors=True)
        self.say(f"{self.size} is ready")

    def one(self, sql):
        return self.con.execute(sql).fetchone()[0]

    def lines(self, source):
        """Table `b`: each order line with its workspace, its day, and random numbers r1 to r5."""
        con = self.con
        con.execute(f"""create table src as
          select o_orderkey::bigint order_id, l_linenumber::int line_no, o_custkey::bigint customer_id, c_mktsegment segment,
             l_partkey::bigint part_id, l_quantity::int quantity, l_extendedprice::decimal(12,2) price,
             l_discount::decimal(4,2) discount, l_tax::decimal(4,2) tax, trim(l_shipmode) ship_mode, o_orderstatus status,
             o_orderdate order_date, l_shipdate ship_date, trim(l_comment) as cmt
          from '{source}/lineitem.parquet' join '{source}/orders.parquet' on l_orderkey=o_orderkey
          join '{source}/customer.parquet' on o_custkey=c_custkey""")
        if self.size == "S":  # one order in 60
            orders = con.execute("select distinct order_id from src order by 1").fetchnumpy()["order_id"].astype(U)
            keep = pa.table({"order_id": orders[self.random(orders, 9) % U(60) == 0].astype("int64")})
            con.execute("delete from src where order_id not in (select order_id from keep)")
        con.execute("create table s2 as select *, row_number() over (order by order_id,line_no)-1 rn from src")
        keys = con.execute("select order_id*8+line_no k, customer_id c from s2 order by rn").fetchnumpy()
        key, customer = keys["k"].astype(U), keys["c"].astype(U)
        # Eight workspaces, of 50, 20, 10, 8, 5, 4, 2 and 1 % of the customers.
        edges = np.cumsum([50, 20, 10, 8, 5, 4, 2, 1])
        ws = np.searchsorted(edges, (self.random(customer, 1) % U(100)).astype("int64"), side="right") + 1
        numbers = {f"r{i}": (self.random(key, i) >> U(1)).astype("int64") for i in (1, 2, 3, 4, 5)}
        rt = pa.table({"rn": np.arange(len(key), dtype="int64"), "ws": ws.astype("int32"), **numbers})  # noqa: F841, read by its name
        con.execute(f"""create table b as
          select order_id, line_no, format('ws-{{:02d}}', ws) workspace_id, customer_id, segment, part_id,
             quantity, price, discount, tax, ship_mode, status, order_date, ship_date,
             case when r3 % 16 = 0 then 'said "ok", ' || cmt when r3 % 64 = 1 then 'caf\u00e9 ' || cmt else cmt end as comment,
             least({self.days}-1, (date_diff('day', date '1992-01-01', order_date) * {self.days}) // 2406)::int d, r1,r2,r3,r4,r5,
             timestamp '2024-01-01' + to_days(d) + to_seconds(r1 % 80000) + to_milliseconds((r1 // 1048576) % 1000) ts
          from s2 join rt using (rn)""")
        con.execute("drop table src; drop table s2")

    def events(self):
        """Table `ev`: every event with the file it comes in (`batch`), its place there (`pri`) and what is wrong with it (`defect`)."""
        days = self.days
        cols = ", ".join(COLS)
        nulls = "workspace_id, " + ", ".join(f"null as {c}" for c in COLS if c != "workspace_id")
        update1 = replaced(quantity="1+(quantity+7)%50", price="price+10.01", discount="((r3%11)/100)::decimal(4,2)", status="'F'")
        update2 = replaced(quantity="1+(quantity+13)%50", price="price+25.50", discount="((r5%11)/100)::decimal(4,2)", status="'U'")
        update3 = replaced(quantity="1+(quantity+17)%50", price="price+31.07", discount="((r5%7)/100)::decimal(4,2)", status="'V'")
        changed_at = f"timestamp '2024-01-01' + to_days({days}+1) + to_seconds(r4 // 100 % 70000) + to_milliseconds(r5 % 1000)"
        file = f"{CHANGE} + r5 // 1000 % {CHANGE_FILES}"
        self.con.execute(f"""create table ev as
          -- base
          select 'upsert' op, order_id, line_no, {cols}, ts updated_at, null::int defect, d batch, 0 pri from b
          union all  -- 1% delivered again unchanged, on the next day
          select 'upsert', order_id, line_no, {cols}, ts, null, least(d+1,{days}-1), 1 from b where r2 % 100 = 0
          union all  -- 1% newer version, 1..3 days later (same day at the end)
          select 'upsert', order_id, line_no, {update1},
                 case when d+1+r3%3 < {days} then ts + to_days((1+r3%3)::int) else ts + to_seconds(1+r3%5000) end,
                 null, case when d+1+r3%3 < {days} then d+1+r3%3 else d end, 1 from b where r2 % 100 = 1
          union all  -- 1% invalid; later updated_at: would win if not quarantined
          select 'upsert', order_id, line_no, {update1}, ts + to_seconds(6000), (r3 % 8)::int, d, 2 from b where r2 % 100 = 2
          -- change batch: 5% updates (1 in 50 of them stale), 1% deletes (1 in 50 stale), 2% inserts
          union all
          select 'upsert', order_id, line_no, {update2}, case when r5 % 50 = 0 then ts - to_days(400) else {changed_at} end,
                 null, {file}, 0 from b where r4 % 100 < 5
          union all
          select 'delete', order_id, line_no, {nulls}, case when r5 % 50 = 3 then ts - to_days(400) else {changed_at} end,
                 null, {file}, 0 from b where r4 % 100 = 5
          union all
          select 'upsert', order_id + 10000000, line_no, {cols}, {changed_at}, null, {file}, 0 from b where r4 % 100 in (6, 7)
          union all  -- 2% of the updates and inserts are followed by a newer version
          select 'upsert', order_id + case when r4%100<5 then 0 else 10000000 end, line_no, {update3}, {changed_at} + to_seconds(3600),
                 null, {CHANGE} + r5 // 7000 % {CHANGE_FILES}, 1 from b where r4 % 100 in (0,1,2,3,4,6,7) and r5 % 50 = 1
          union all  -- deletes of keys that never were
          select 'delete', order_id + 20000000, line_no, {nulls}, {changed_at}, null, {file}, 1 from b where r4 % 100 = 5 and r5 % 50 = 4
          union all  -- 1% invalid
          select 'upsert', order_id, line_no, {update3}, {changed_at} + to_seconds(7000), (r3 % 8)::int, {file}, 2
          from b where r4 % 100 < 8 and r5 % 100 = 2""")
        self.con.execute("drop table b")

    def write_files(self):
        """Writes each batch as CSV or NDJSON; what was written."""
        files = []
        for (batch,) in self.con.execute("select distinct batch from ev order by 1").fetchall():
            is_json = batch % 3 == 2 if batch < CHANGE else batch % 2 == 1
            kind = "ndjson" if is_json else "csv"
            name = f"base/day_{batch:03d}.{kind}" if batch < CHANGE else f"change/chg_{batch - CHANGE:03d}.{kind}"
            rows = f"select {TEXT} from ev where batch={batch} order by pri, updated_at, order_id, line_no"
            write_rows(self.con, rows, f"{self.folder}/raw/{name}")
            files.append(described(f"{self.folder}/raw/{name}", self.folder))
        return files

    def expect(self, files):
        expected = {"size": self.size, "seed": self.seed, "files": files, "raw_bytes": sum(f["bytes"] for f in files)}
        for state, condition in (("load", f"batch < {CHANGE}"), ("final", "true")):
            self.con.execute(f"""create or replace table silver as select * exclude (op, defect, batch, pri, rn) from
               (select *, row_number() over (partition by workspace_id, order_id, line_no order by updated_at desc) rn
                from ev where defect is null and {condition})
               where rn = 1 and op <> 'delete'""")
            workspace = "case defect when 3 then null else workspace_id end"
            by_workspace = f"select {workspace} w, count(*) from ev where {condition} group by 1 order by 1"
            by_reason = f"select {REASON} r, count(*) from ev where defect is not null and {condition} group by 1 order by 1"
            expected[state] = {
                "bronze_rows": self.one(f"select count(*) from ev where {condition}"),
                "bronze_by_workspace": {str(a): b for a, b in self.con.execute(by_workspace).fetchall()},
                "quarantine": dict(self.con.execute(by_reason).fetchall()),
                **expect_of_silver(self.con, self.folder, state),
            }
        expected |= expect_of_queries(self.con, self.folder)
        return expected


def tpch(root):
    """The folder of TPC-H at scale 1."""
    folder = f"{root}/tpch"
    if not os.path.exists(f"{folder}/lineitem.parquet"):
        os.makedirs(folder, exist_ok=True)
        tool = os.path.join(os.path.dirname(sys.executable), "tpchgen-cli")
        subprocess.check_call([tool, "parquet", "-s", "1", "--output-dir", folder, "--tables", "orders,lineitem,customer"])
    return folder


def write_rows(con, rows, path):
    """Writes a query's rows as CSV or NDJSON, by the file's name."""
    form = "(format json)" if path.endswith(".ndjson") else "(format csv, header true)"
    con.execute(f"copy ({rows}) to '{path}' {form}")


def described(path, folder):
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return {"file": os.path.relpath(path, folder), "bytes": os.path.getsize(path), "sha256": digest}


def expect_of_silver(con, folder, state):
    """What silver and gold must be when table `silver` is; writes gold below `folder`."""
    daily, top = (f"{folder}/expected/{state}_{name}.parquet" for name in ("daily_revenue", "top_customers"))
    con.execute(f"copy ({GOLD_DAILY.format(silver='silver')} order by all) to '{daily}'")
    con.execute(f"copy ({GOLD_TOP.format(silver='silver')} order by all) to '{top}'")
    one = lambda sql: con.execute(sql).fetchone()[0]
    return {
        "silver": silver_digest(con, "silver"),
        "gold_daily_rows": one(f"select count(*) from '{daily}'"),
        "gold_revenue_total": str(one(f"select sum(revenue) from '{daily}'")),
        "gold_top_rows": one(f"select count(*) from '{top}'"),
    }


def expect_of_queries(con, folder):
    """The point queries and the scan with their answers, when table `silver` is as it ends."""
    points = con.execute(f"""select workspace_id, order_date::varchar, sum(lines)::bigint, sum(revenue)::varchar
       from '{folder}/expected/final_daily_revenue.parquet'
       group by 1,2 order by md5(workspace_id || order_date::varchar) limit 20""").fetchall()
    scan = con.execute("""select ship_mode, count(*), sum(quantity)::bigint, sum(price*(1-discount))::decimal(18,4)
       from silver group by 1 order by 1""").fetchall()
    return {
        "point_queries": [{"workspace_id": a, "order_date": b, "lines": c, "revenue": d} for a, b, c, d in points],
        "scan_agg": [{"ship_mode": a, "lines": b, "quantity": c, "revenue": str(d)} for a, b, c, d in scan],
    }


class TextDigest:
    """A checksum of the text of rows that does not depend on their order: the one that `verify.py` computes in SQL."""

    MODULUS = 10**18

    def __init__(self):
        as_sql = int(duckdb.connect().execute("select md5_number('a')").fetchone()[0])
        digest = hashlib.md5(b"a").digest()
        self.order = next(order for order in ("big", "little") if int.from_bytes(digest, order) == as_sql)

    def row(self, values):
        return int.from_bytes(hashlib.md5("|".join(values).encode()).digest(), self.order) % self.MODULUS

    def files(self, pattern):
        """Rows and checksum of all files that match."""
        found = [self.file(path) for path in sorted(glob.glob(pattern))]
        return sum(rows for rows, _ in found), sum(digest for _, digest in found)

    def file(self, path):
        rows = total = 0
        with open(path, newline="", encoding="utf-8") as file:
            for values in csv_rows(file) if path.endswith(".csv") else json_rows(file):
                rows, total = rows + 1, total + self.row(values)
        return rows, total


def csv_rows(file):
    reader = csv.reader(file)
    assert next(reader) == RAW_COLS
    for row in reader:
        yield [value if value != "" else "~" for value in row]


def json_rows(file):
    for line in file:
        record = json.loads(line)
        yield ["~" if record[c] is None else str(record[c]) for c in RAW_COLS]


def add_bronze_text(expected, folder):
    """Adds the checksum of the text of all rows that were delivered."""
    digest = TextDigest()
    base_rows, base = digest.files(f"{folder}/raw/base/*")
    change_rows, change = digest.files(f"{folder}/raw/change/*")
    assert base_rows == expected["load"]["bronze_rows"] and base_rows + change_rows == expected["final"]["bronze_rows"]
    expected["load"]["bronze_text"] = str(base)
    expected["final"]["bronze_text"] = str(base + change)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=list(DAYS), required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--root", default=DATA)
    arguments = parser.parse_args()
    Generator(arguments.size, arguments.seed, arguments.root).generate()


if __name__ == "__main__":
    main()
