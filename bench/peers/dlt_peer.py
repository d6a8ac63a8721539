"""Peer (iv): dlt, filesystem destination with table_format=delta. Ingest + cleanse + MERGE only (dlt has no gold layer).
The fast path of dlt is used: DuckDB parses/casts, dlt receives Arrow batches. dlt's Delta merge has no 'only if newer' guard,
so stale events are removed by the resource itself (anti join with the current silver), as a careful user has to do."""

import os, sys

sys.path.insert(0, os.path.dirname(__file__))
os.environ.update(
    {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "NORMALIZE__WORKERS": "1",
        "LOAD__WORKERS": "2",
        "DATA_WRITER__DISABLE_COMPRESSION": "true",
        "EXTRACT__DATA_WRITER__BUFFER_MAX_ITEMS": "100000",
    }
)
from common import RAW_COLS, BIZ_COLS, KEY, REASON, TYPED, TYPES, main
import dlt, duckdb
from deltalake import DeltaTable
from dlt.destinations import filesystem


class Peer:
    def open(self, run):
        self.r = run
        self.con = duckdb.connect()
        self.con.execute("set timezone='UTC'; set preserve_insertion_order=false")
        self.pipes = {}

    def close(self):
        self.con.close()

    def pipe(self, layer):
        return dlt.pipeline(
            f"medallion_{layer}",
            pipelines_dir=f"{self.r.out}/.dlt",
            dataset_name=layer,
            destination=filesystem(bucket_url=os.path.abspath(self.r.out)),
        )

    def arrow(self, sql):
        for b in self.con.cursor().sql(sql).to_arrow_reader(100000):
            yield b  # one cursor per resource: dlt interleaves them

    def delta(self, path):
        return f"read_parquet({DeltaTable(path).file_uris()!r}, hive_partitioning=true, hive_types_autocast=false)"

    def noop(self):
        @dlt.resource(name="order_events", write_disposition="append", table_format="delta")
        def ev():
            for f in sum(self.r.files("base") + self.r.files("change"), []):
                yield f

        self.pipe("bronze").run(ev())
        DeltaTable(self.r.bronze).version()
        DeltaTable(self.r.silver).version()

    def ingest(self, sub):
        csv, nd = self.r.files(sub)
        names = ", ".join(RAW_COLS)
        types = "{" + ", ".join(f"{c}: 'VARCHAR'" for c in RAW_COLS) + "}"
        src = []
        if csv:
            src.append(
                f"select {names}, filename from read_csv({csv!r}, header=true, delim=',', quote='\"', escape='\"', columns={types}, auto_detect=false, filename=true)"
            )
        if nd:
            src.append(
                f"select {names}, filename from read_json({nd!r}, format='newline_delimited', columns={types}, filename=true)"
            )

        @dlt.resource(
            name="order_events", write_disposition="append", table_format="delta", columns={"workspace_id": {"partition": True}}
        )
        def ev():
            yield from self.arrow(
                f"select {names}, parse_filename(filename) _source_file, timestamptz '{self.r.now.isoformat()}' _ingested_at from ({' union all '.join(src)})"
            )

        self.pipe("bronze").run(ev())

    def silver(self):
        r, con = self.r, self.con
        con.execute(f"""create or replace table checked as
          select *, {REASON} _reason
          from (select *, {TYPED}
             from {self.delta(r.bronze)} where _ingested_at = timestamptz '{r.now.isoformat()}')""")
        cols = BIZ_COLS + ["_source_file", "_ingested_at"]
        sel = ", ".join(f"t_{k} as {k}" if k in TYPES else k for k in cols)
        latest = f"""select {sel}, case when op='delete' then true end _deleted from checked where rowid in (
               select arg_max(rowid, t_updated_at) from checked where _reason is null group by workspace_id, t_order_id, t_line_no)"""
        if DeltaTable.is_deltatable(r.silver):
            latest = f"select l.* from ({latest}) l left join (select {', '.join(KEY)}, updated_at u from {self.delta(r.silver)}) t using ({', '.join(KEY)}) where t.u is null or l.updated_at > t.u"

        @dlt.resource(name="order_lines_quarantine", write_disposition="append", table_format="delta")
        def bad():
            yield from self.arrow(
                f"select {', '.join(RAW_COLS)}, _reason, _source_file, _ingested_at from checked where _reason is not null"
            )

        @dlt.resource(
            name="order_lines",
            write_disposition={"disposition": "merge", "strategy": "upsert"},
            table_format="delta",
            primary_key=KEY,
            columns={"workspace_id": {"partition": True}, "_deleted": {"hard_delete": True, "data_type": "bool"}},
        )
        def good():
            yield from self.arrow(latest)

        self.pipe("silver").run([bad(), good()])


if __name__ == "__main__":
    main(Peer())
