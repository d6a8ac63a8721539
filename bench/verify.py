#!/usr/bin/env python3
"""Whether the tables of a contender equal what is expected, exactly.

    verify.py --data DATA/S --out OUT --state load|final      -> `OK` and exit code 0, else one line for each mismatch

The expected values are those of `gen.py`. Contenders lay their tables out in one of two ways, which the tables tell:

* as WORKLOAD.md says, which all the peers do;
* as `lake` does: bronze tells the whole path of a row's file (`_source`), rows without a workspace are in
  `bronze/order_events_quarantine`, where no workspace sees them, and a reason in quarantine is what `lake` says,
  or several of them. Quarantine and gold are partitioned by workspace.
"""

import argparse
import json
import os
import sys

import duckdb
import pyarrow
from deltalake import DeltaTable, QueryBuilder

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from expect import RAW_COLS, SILVER_COLS, silver_digest

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

# What `lake` says of a row, by the workload's name of the rule, in the workload's order: the first that is said counts. The other
# rules are expectations of `pipeline.yaml`, called as the workload calls them.
KEY_IS_WRONG = [f"`{column}` is {what}" for column in ("order_id", "line_no") for what in ("missing", "not a long", "not an integer")]
SEQUENCE_IS_WRONG = ["the sequence of a delete is missing"]
EXPECTATIONS = ["bad_updated_at", "bad_op", "bad_price", "negative_price", "bad_quantity", "bad_discount", "bad_date"]
SAID = [("null_key", text) for text in KEY_IS_WRONG]
SAID += [("bad_updated_at", text) for text in SEQUENCE_IS_WRONG]
SAID += [(name, f"`{name}` does not hold") for name in EXPECTATIONS]


def view_of_marked(con, name, table):
    """A table with deletion vectors, which DuckDB's Parquet reader knows nothing of: the rows as the `deltalake` package reads them."""
    builder = QueryBuilder().register("marked", table)
    rows = pyarrow.RecordBatchReader.from_stream(builder.execute("select * from marked"))
    con.register(f"{name}_rows", rows.read_all())
    con.execute(f"create or replace view {name} as select * from {name}_rows")


def files_of(table):
    """The live files of a Delta table as a DuckDB relation; its partition columns come from their paths."""
    files = ",".join("'" + file.replace("'", "''") + "'" for file in table.file_uris())
    hive = "true" if table.metadata().partition_columns else "false"
    return f"read_parquet([{files}], hive_partitioning={hive}, hive_types_autocast=false, union_by_name=true)"


def view(con, name, path):
    table = DeltaTable(path)
    if "deletionVectors" in (table.protocol().reader_features or []):
        view_of_marked(con, name, table)
        return table
    con.execute(f"create or replace view {name} as select * from {files_of(table)}")
    return table


def types(table):
    return {f.name: (f.type.type if hasattr(f.type, "type") else str(f.type)).replace(" ", "") for f in table.schema().fields}


class Verification:
    """Compares the tables below `out` with the expectation of `state`, and collects what differs."""

    def __init__(self, data, out, state):
        self.con = duckdb.connect()
        self.con.execute("set threads=2; set timezone='UTC'")
        self.data, self.out, self.state = data, out, state
        with open(f"{data}/expected/expected.json") as file:
            self.everything = json.load(file)
        self.expected = self.everything[state]
        self.of_lake = "_source" in types(DeltaTable(f"{out}/bronze/order_events")) if self.has("bronze/order_events") else False
        self.bad = []

    def has(self, table):
        return os.path.isdir(f"{self.out}/{table}/_delta_log")

    def equal(self, what, got, want):
        if got != want:
            self.bad.append(f"{what}: got {got} want {want}")

    def one(self, sql):
        return self.con.execute(sql).fetchone()[0]

    def bronze(self):
        table = view(self.con, "bronze", f"{self.out}/bronze/order_events")
        self.equal("bronze partition", table.metadata().partition_columns, ["workspace_id"])
        found, origin = types(table), "_source" if self.of_lake else "_source_file"
        text = SILVER_COLS + ["op", origin]
        self.equal("bronze types", [found.get(c) for c in text], ["string"] * len(text))
        self.equal("bronze ts", found.get("_ingested_at"), "timestamp")
        if self.of_lake:
            self.whole_bronze()

        workspace = "case when workspace_id like '%HIVE_DEFAULT%' or workspace_id = '' then null else workspace_id end"
        rows = self.con.execute(f"select {workspace}, count(*) from bronze group by 1 order by 1").fetchall()
        rows = {str(name): count for name, count in rows}
        wanted = self.expected["bronze_by_workspace"]
        self.equal("bronze rows by workspace", dict(sorted(rows.items())), dict(sorted(wanted.items())))

        files = [f for f in self.everything["files"] if self.state == "final" or "/base/" in f["file"]]
        self.equal("bronze source files", self.one("select count(distinct _source_file) from bronze"), len(files))
        self.equal("bronze text", self.one("select count(*) from bronze where op='upsert' and comment is null or updated_at is null"), 0)
        if "bronze_text" in self.expected:
            text = ", ".join(f"coalesce(nullif(nullif({c}, '__HIVE_DEFAULT_PARTITION__'), ''), '~')" for c in RAW_COLS)
            row = f"md5_number(concat_ws('|', {text})) % 1000000000000000000"
            self.equal("bronze text checksum", self.one(f"select sum(({row})::hugeint)::varchar from bronze"), self.expected["bronze_text"])

    def whole_bronze(self):
        """Makes `bronze` what was delivered: with the rows that named no workspace, and the base name of each file."""
        own = ", ".join(RAW_COLS)
        nobodys = ", ".join("_delivered_workspace as workspace_id" if c == "workspace_id" else c for c in RAW_COLS)
        origin = "regexp_extract(_source, '[^/]*$') as _source_file, _ingested_at"
        kept = files_of(DeltaTable(f"{self.out}/bronze/order_events"))
        refused = files_of(DeltaTable(f"{self.out}/bronze/order_events_quarantine"))
        self.con.execute(f"""create or replace view bronze as
            select {own}, {origin} from {kept} union all by name select {nobodys}, {origin} from {refused}""")

    def quarantine(self):
        view(self.con, "quarantine", f"{self.out}/silver/order_lines_quarantine")
        if self.of_lake:
            self.named_reasons()
        rows = self.con.execute("select _reason, count(*) from quarantine group by 1 order by 1").fetchall()
        self.equal("quarantine", dict(rows), self.expected["quarantine"])

    def named_reasons(self):
        """Makes `quarantine` all rows that were set aside, each with the workload's name of the first rule it broke."""
        said = "string_split(_reason, '; ')"
        cases = " ".join(f"when list_contains({said}, '{text}') then '{name}'" for name, text in SAID)
        silver = files_of(DeltaTable(f"{self.out}/silver/order_lines_quarantine"))
        bronze = files_of(DeltaTable(f"{self.out}/bronze/order_events_quarantine"))
        no_key = "try_cast(order_id as bigint) is null or try_cast(line_no as int) is null"
        self.con.execute(f"""create or replace view quarantine as
            select case {cases} else _reason end as _reason from {silver}
            union all select case when {no_key} then 'null_key' else 'null_workspace' end from {bronze}""")

    def silver(self, with_types):
        table = view(self.con, "silver", f"{self.out}/silver/order_lines")
        if with_types:
            self.equal("silver partition", table.metadata().partition_columns, ["workspace_id"])
            self.equal("silver types", types(table), SILVER_TYPES)
        self.equal("silver", silver_digest(self.con, "silver"), self.expected["silver"])

    def gold(self, name):
        table = view(self.con, "gold", f"{self.out}/gold/{name}")
        self.equal(f"{name} types", types(table), GOLD_TYPES[name])
        wanted, columns = f"'{self.data}/expected/{self.state}_{name}.parquet'", ", ".join(GOLD_TYPES[name])
        self.equal(f"{name} rows", self.one("select count(*) from gold"), self.one(f"select count(*) from {wanted}"))
        missing = f"select {columns} from {wanted} except all select {columns} from gold"
        surplus = f"select {columns} from gold except all select {columns} from {wanted}"
        self.equal(f"{name} diff", self.one(f"select count(*) from (({missing}) union all ({surplus}))"), 0)


def verify(data, out, state, scope="all"):
    """What differs, a text each."""
    verification = Verification(data, out, state)
    if scope == "all":
        verification.bronze()
        verification.quarantine()
    verification.silver(with_types=scope == "all")
    if scope == "all":
        for name in GOLD_TYPES:
            verification.gold(name)
    return verification.bad


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--state", default="final", choices=["load", "final"])
    parser.add_argument("--scope", default="all", choices=["all", "silver"], help="`silver` leaves out what dlt has not")
    arguments = parser.parse_args()
    bad = verify(arguments.data, arguments.out, arguments.state, arguments.scope)
    print("OK" if not bad else "\n".join("MISMATCH " + text for text in bad))
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
