"""Peer (ii): DuckDB does all reading and computing; delta-rs (deltalake) is the Delta log reader, writer and MERGE."""

import os, sys

sys.path.insert(0, os.path.dirname(__file__))
from common import RAW_COLS, BIZ_COLS, KEY, REASON, TYPED, TYPES, main
import duckdb
from deltalake import DeltaTable, WriterProperties, write_deltalake

WP = (
    WriterProperties(compression="ZSTD", compression_level=1)
    if os.environ.get("PEER_ZSTD")
    else WriterProperties(compression="SNAPPY")
)
REV = "sum(price * (1 - discount))::decimal(18,4)"


class Peer:
    def open(self, run):
        self.r = run
        self.con = duckdb.connect()
        self.con.execute(f"set timezone='UTC'; set preserve_insertion_order=false; set temp_directory='{run.out}/.duck_tmp'")

    def close(self):
        self.con.close()

    def noop(self):
        assert not any(self.r.files("base")) and not any(self.r.files("change"))
        DeltaTable(self.r.bronze).version()
        DeltaTable(self.r.silver).version()

    def arrow(self, sql):
        rel = self.con.sql(sql)
        return rel.to_arrow_reader(131072) if hasattr(rel, "to_arrow_reader") else rel.fetch_arrow_reader(131072)

    def delta(self, path, part):
        """the live files of a Delta table as a DuckDB table function (delta-rs writes no deletion vectors)"""
        fs = DeltaTable(path).file_uris()
        return f"read_parquet({fs!r}, hive_partitioning={'true' if part else 'false'}, hive_types_autocast=false)"

    def ingest(self, sub):
        csv, nd = self.r.files(sub)
        src = []
        names = ", ".join(RAW_COLS)
        types = "{" + ", ".join(f"{c}: 'VARCHAR'" for c in RAW_COLS) + "}"
        if csv:
            src.append(
                f"select {names}, filename from read_csv({csv!r}, header=true, delim=',', quote='\"', escape='\"', columns={types}, auto_detect=false, filename=true)"
            )
        if nd:
            src.append(
                f"select {names}, filename from read_json({nd!r}, format='newline_delimited', columns={types}, filename=true)"
            )
        q = " union all ".join(src)
        write_deltalake(
            self.r.bronze,
            self.arrow(
                f"select {names}, parse_filename(filename) _source_file, timestamptz '{self.r.now.isoformat()}' _ingested_at from ({q})"
            ),
            mode="append",
            partition_by=["workspace_id"],
            writer_properties=WP,
        )

    def silver(self):
        r, con = self.r, self.con
        con.execute(f"""create temp table checked as
          select *, {REASON} _reason
          from (select *, {TYPED}
             from {self.delta(r.bronze, True)} where _ingested_at = timestamptz '{r.now.isoformat()}')""")
        write_deltalake(
            r.quarantine,
            self.arrow(f"select {', '.join(RAW_COLS)}, _reason, _source_file, _ingested_at from checked where _reason is not null"),
            mode="append",
            writer_properties=WP,
        )
        cols = BIZ_COLS + ["_source_file", "_ingested_at"]
        sel = ", ".join(f"t_{k} as {k}" if k in TYPES else k for k in cols)
        # dedup: narrow window over (key, updated_at, rowid), then a semi join back to the wide rows
        latest = f"""select op, {sel} from checked where _reason is null
                  qualify row_number() over (partition by workspace_id, t_order_id, t_line_no order by t_updated_at desc) = 1"""
        if os.environ.get("DUCK_DEDUP", "rowid") == "rowid":
            latest = f"""select op, {sel} from checked where rowid in (
               select arg_max(rowid, t_updated_at) from checked where _reason is null group by workspace_id, t_order_id, t_line_no)"""
        if not DeltaTable.is_deltatable(r.silver):
            write_deltalake(
                r.silver,
                self.arrow(f"select * exclude (op) from ({latest}) where op <> 'delete'"),
                mode="error",
                partition_by=["workspace_id"],
                writer_properties=WP,
            )
        else:
            (
                DeltaTable(r.silver)
                .merge(
                    self.arrow(latest),
                    "t.workspace_id = s.workspace_id and t.order_id = s.order_id and t.line_no = s.line_no",
                    source_alias="s",
                    target_alias="t",
                    writer_properties=WP,
                    streamed_exec=os.environ.get("DUCK_STREAMED", "0") == "1",
                )
                .when_matched_delete(predicate="s.op = 'delete' and s.updated_at > t.updated_at")
                .when_matched_update(
                    updates={k: f"s.{k}" for k in cols}, predicate="s.op = 'upsert' and s.updated_at > t.updated_at"
                )
                .when_not_matched_insert(updates={k: f"s.{k}" for k in cols}, predicate="s.op = 'upsert'")
                .execute()
            )
        con.execute("drop table checked")

    def gold(self):
        s = self.delta(self.r.silver, True)
        write_deltalake(
            self.r.gold_daily,
            self.arrow(f"""select workspace_id, order_date, ship_mode, count(*)::bigint lines, sum(quantity)::bigint quantity, {REV} revenue
            from {s} group by all"""),
            mode="overwrite",
            writer_properties=WP,
        )
        write_deltalake(
            self.r.gold_top,
            self.arrow(f"""select workspace_id, rank, customer_id, orders, revenue from (
            select *, row_number() over (partition by workspace_id order by revenue desc, customer_id)::int rank from (
              select workspace_id, customer_id, count(distinct order_id)::bigint orders, {REV} revenue from {s} group by all)) where rank <= 100"""),
            mode="overwrite",
            writer_properties=WP,
        )

    def point(self, ws, date):
        return self.con.execute(
            f"select sum(lines), sum(revenue) from {self.delta(self.r.gold_daily, False)} where workspace_id = ? and order_date = ?::date",
            [ws, date],
        ).fetchone()

    def scan(self):
        return self.con.execute(
            f"select ship_mode, count(*), sum(quantity), {REV} from {self.delta(self.r.silver, True)} group by 1 order by 1"
        ).fetchall()


if __name__ == "__main__":
    main(Peer())
