#!/usr/bin/env python3
"""Computes what a pipeline must produce, straight from its raw files.

    oracle.py --pipeline quickstart|growing|flights --data DIR --out expected.json [--no-rows]

The result has counts as in `run.json` (for one run over all files), and per table and workspace the rows and a digest of them. The rows
themselves are written beside it, `expected/<table>.csv`, to look at when something differs.
"""
import argparse
import json
import pathlib

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

import raw
from rows import Rows
from semantics import Spec, bronze_sql, reached_expectations_sql, silver_sql
from specs import SPECS

FATES = ["written", "dropped", "quarantined", "superseded", "deleted"]


def build(spec: Spec, data: pathlib.Path) -> duckdb.DuckDBPyConnection:
    """A database in memory that holds every table of the pipeline."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    for name, table in spec.bronze.items():
        paths = sorted(path for path in data.glob(table.files) if not path.name.startswith("."))
        if not paths:
            raise SystemExit(f"no file matches {data / table.files}")
        db.register("delivered", raw.load(paths, table.form, table.columns))
        db.execute(f"CREATE TABLE raw_{name} AS SELECT * FROM delivered")
        db.unregister("delivered")
        for statement in bronze_sql(name, table):
            db.execute(statement)
    for name, table in spec.silver.items():
        for statement in silver_sql(name, table):
            db.execute(statement)
    for name, sql in spec.gold.items():
        db.execute(f"CREATE TABLE gold_{name} AS {sql}")
    return db


def arrow(db: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """The result of a query."""
    return db.sql(sql).to_arrow_table()


def number(db: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The one number a query returns."""
    return db.execute(sql).fetchone()[0]


def counts(db: duckdb.DuckDBPyConnection, spec: Spec) -> dict[str, dict[str, int]]:
    """Rows read and their fates, by table."""
    found = {}
    for name in spec.bronze:
        kept, refused = number(db, f"SELECT count(*) FROM bronze_{name}"), number(db, f"SELECT count(*) FROM bronze_{name}_quarantine")
        found[f"bronze.{name}"] = {"written": kept, "quarantined": refused}
    for name in spec.silver:
        found[f"silver.{name}"] = dict(db.execute(f"SELECT _fate, count(*) FROM judged_{name} GROUP BY 1").fetchall())
    for name in spec.gold:
        found[f"gold.{name}"] = {"written": number(db, f"SELECT count(*) FROM gold_{name}")}
    return {table: {"read": sum(fates.values())} | {fate: fates.get(fate, 0) for fate in FATES} for table, fates in found.items()}


def expectations(db: duckdb.DuckDBPyConnection, spec: Spec) -> dict[str, dict]:
    """How many of the rows that reached the expectations pass and fail each."""
    found = {}
    for name, table in spec.silver.items():
        for label, (sql, otherwise) in table.expect.items():
            passed, failed = db.execute(
                f"SELECT count(*) FILTER (({sql}) IS TRUE), count(*) FILTER (({sql}) IS NOT TRUE) FROM typed_{name} WHERE {reached_expectations_sql(table)}"
            ).fetchone()
            if otherwise == "fail" and failed:
                raise SystemExit(f"`{label}` of silver.{name} fails for {failed} rows, so the run would fail: there is nothing to expect")
            found.setdefault(f"silver.{name}", {})[label] = {"passed": passed, "failed": failed}
    return found


def tables(db: duckdb.DuckDBPyConnection, spec: Spec) -> dict[str, tuple[pa.Table, bool]]:
    """Every table with whether its rows are compared (else they are only counted). Of bronze the whole records are."""
    found = {}
    for name in spec.bronze:
        found[f"bronze.{name}"] = arrow(db, f"SELECT * FROM bronze_{name}"), True
        found[f"bronze.{name}_quarantine"] = arrow(db, f"SELECT workspace_id FROM bronze_{name}_quarantine"), False
    for name in spec.silver:
        found[f"silver.{name}"] = arrow(db, f"SELECT * FROM silver_{name}"), True
        found[f"silver.{name}_quarantine"] = arrow(db, f"SELECT workspace_id FROM silver_{name}_quarantine"), False
    for name in spec.gold:
        found[f"gold.{name}"] = arrow(db, f"SELECT * FROM gold_{name}"), True
    return found


def summarise(name: str, table: pa.Table, compared: bool, folder: pathlib.Path | None) -> dict:
    """The entry of one table. The digest of a bronze table is over its unbroken records, `rows` over all."""
    rows = Rows(table)
    if folder and compared:
        rows.write_csv(folder / f"{name}.csv")
    entry = rows.summary(compared)
    if compared and name.startswith("bronze."):
        whole = Rows(table.filter(pc.invert(table.column("_broken")))).summary()
        for workspace, space in entry["workspaces"].items():
            space["digest"] = whole["workspaces"].get(workspace, {}).get("digest")
    return entry


def expect(pipeline: str, data: pathlib.Path, folder: pathlib.Path | None) -> dict:
    """The whole document; rows go to `folder` when it is given."""
    spec = SPECS[pipeline]
    db = build(spec, data)
    entries = {name: summarise(name, table, compared, folder) for name, (table, compared) in tables(db, spec).items()}
    return {"pipeline": pipeline, "counts": counts(db, spec), "expectations": expectations(db, spec), "tables": entries}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipeline", required=True, choices=sorted(SPECS))
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--no-rows", action="store_true", help="do not write the rows beside the result")
    args = parser.parse_args()
    document = expect(args.pipeline, args.data, None if args.no_rows else args.out.with_suffix(""))
    args.out.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
