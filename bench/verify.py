#!/usr/bin/env python3
"""verify.py --data data/S --out DIR --state load|final   -> exit 0 and 'OK' iff every table equals the expectation exactly."""

import argparse, json, sys, os
import duckdb
from deltalake import DeltaTable
from urllib.parse import unquote

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from expect import silver_digest, SILVER_COLS

RAW_COLS = ["op", "order_id", "line_no", "workspace_id"] + [
    c for c in SILVER_COLS if c not in ("workspace_id", "order_id", "line_no")
]

SILVER_TYPES = {
    "workspace_id": "string",
    "order_id": "long",
    "line_no": "integer",
    "customer_id": "long",
    "segment": "string",
    "part_id": "long",
    "quantity": "integer",
    "price": "decimal(12,2)",
    "discount": "decimal(4,2)",
    "tax": "decimal(4,2)",
    "ship_mode": "string",
    "status": "string",
    "order_date": "date",
    "ship_date": "date",
    "comment": "string",
    "updated_at": "timestamp",
    "_source_file": "string",
    "_ingested_at": "timestamp",
}
GOLD_TYPES = {
    "daily_revenue": {
        "workspace_id": "string",
        "order_date": "date",
        "ship_mode": "string",
        "lines": "long",
        "quantity": "long",
        "revenue": "decimal(18,4)",
    },
    "top_customers": {
        "workspace_id": "string",
        "rank": "integer",
        "customer_id": "long",
        "orders": "long",
        "revenue": "decimal(18,4)",
    },
}


def view(con, name, path):
    dt = DeltaTable(path)
    files = dt.file_uris()
    fs = ",".join("'" + f.replace("'", "''") + "'" for f in files)
    part = dt.metadata().partition_columns
    con.execute(
        f"create or replace view {name} as select * from read_parquet([{fs}], hive_partitioning={'true' if part else 'false'}, hive_types_autocast=false, union_by_name=true)"
    )
    return dt


def types(dt):
    return {f.name: (f.type.type if hasattr(f.type, "type") else str(f.type)).replace(" ", "") for f in dt.schema().fields}


def verify(data, out, state, scope="all"):
    con = duckdb.connect()
    con.execute("set threads=2; set timezone='UTC'")
    exp = json.load(open(f"{data}/expected/expected.json"))
    e = exp[state]
    bad = []

    def eq(what, got, want):
        if got != want:
            bad.append(f"{what}: got {got} want {want}")

    if scope == "all":
        d = view(con, "bronze", f"{out}/bronze/order_events")
        eq("bronze partition", d.metadata().partition_columns, ["workspace_id"])
        t = types(d)
        eq("bronze types", [t.get(c) for c in SILVER_COLS + ["op", "_source_file"]], ["string"] * (len(SILVER_COLS) + 2))
        eq("bronze ts", t.get("_ingested_at"), "timestamp")
        w = {
            str(a): b
            for a, b in con.execute(
                "select case when workspace_id like '%HIVE_DEFAULT%' or workspace_id='' then null else workspace_id end, count(*) from bronze group by 1 order by 1"
            ).fetchall()
        }
        eq("bronze rows by workspace", dict(sorted(w.items())), dict(sorted(e["bronze_by_workspace"].items())))
        nf = len([f for f in exp["files"] if state == "final" or "/base/" in f["file"]])
        eq("bronze source files", con.execute("select count(distinct _source_file) from bronze").fetchone()[0], nf)
        eq(
            "bronze text",
            con.execute("select count(*) from bronze where op='upsert' and comment is null or updated_at is null").fetchone()[0],
            0,
        )
        if "bronze_text" in e:
            txt = ", ".join(f"coalesce(nullif(nullif({c}, '__HIVE_DEFAULT_PARTITION__'), ''), '~')" for c in RAW_COLS)
            eq(
                "bronze text checksum",
                con.execute(
                    f"select sum((md5_number(concat_ws('|', {txt})) % 1000000000000000000)::hugeint)::varchar from bronze"
                ).fetchone()[0],
                e["bronze_text"],
            )
    if scope == "all":
        view(con, "quar", f"{out}/silver/order_lines_quarantine")
        eq("quarantine", dict(con.execute("select _reason, count(*) from quar group by 1 order by 1").fetchall()), e["quarantine"])
    d = view(con, "silver", f"{out}/silver/order_lines")
    if scope == "all":
        eq("silver partition", d.metadata().partition_columns, ["workspace_id"])
        eq("silver types", types(d), SILVER_TYPES)
    eq("silver", silver_digest(con, "silver"), e["silver"])
    if scope == "all":
        for g in ("daily_revenue", "top_customers"):
            d = view(con, "g", f"{out}/gold/{g}")
            eq(f"{g} types", types(d), GOLD_TYPES[g])
            x = f"'{data}/expected/{state}_{g}.parquet'"
            cols = ", ".join(GOLD_TYPES[g])
            eq(
                f"{g} rows",
                con.execute("select count(*) from g").fetchone()[0],
                con.execute(f"select count(*) from {x}").fetchone()[0],
            )
            eq(
                f"{g} diff",
                con.execute(
                    f"select count(*) from ((select {cols} from g except all select {cols} from {x}) union all (select {cols} from {x} except all select {cols} from g))"
                ).fetchone()[0],
                0,
            )
    return bad


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--state", default="final")
    ap.add_argument("--scope", default="all", choices=["all", "silver"])
    a = ap.parse_args()
    bad = verify(a.data, a.out, a.state, a.scope)
    print("OK" if not bad else "\n".join("MISMATCH " + b for b in bad))
    sys.exit(bool(bad))
