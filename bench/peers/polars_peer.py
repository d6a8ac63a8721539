"""Peer (i): Polars + deltalake (delta-rs)."""

import os, sys

sys.path.insert(0, os.path.dirname(__file__))
from common import RAW_COLS, BIZ_COLS, KEY, TYPES, main
import polars as pl
from deltalake import DeltaTable, WriterProperties

WP = (
    WriterProperties(compression="ZSTD", compression_level=1)
    if os.environ.get("PEER_ZSTD")
    else WriterProperties(compression="SNAPPY")
)
c = pl.col


class Peer:
    def open(self, run):
        self.r = run

    def close(self):
        pass

    def noop(self):
        assert not any(self.r.files("base")) and not any(self.r.files("change"))
        DeltaTable(self.r.bronze).version()
        DeltaTable(self.r.silver).version()

    def ingest(self, sub):
        csv, nd = self.r.files(sub)
        schema = {k: pl.String for k in RAW_COLS}
        src = []
        if csv:
            src.append(pl.scan_csv(csv, schema=schema, include_file_paths="_source_file"))
        if nd:
            src.append(pl.scan_ndjson(nd, schema=schema, include_file_paths="_source_file"))
        lf = pl.concat(src).with_columns(
            c("_source_file").str.split("/").list.last(), pl.lit(self.r.now).dt.cast_time_unit("us").alias("_ingested_at")
        )
        lf.sink_delta(self.r.bronze, mode="append", delta_write_options={"partition_by": ["workspace_id"], "writer_properties": WP})

    def checked(self):
        """one new-events frame: typed values in t_*, raw strings kept for the quarantine, first failing rule in _reason"""
        i64, i32, dec = pl.Int64, pl.Int32, lambda p, s: pl.Decimal(p, s)
        cast = lambda n, t: c(n).cast(t, strict=False).alias("t_" + n)
        lf = pl.scan_delta(self.r.bronze).filter(c("_ingested_at") == pl.lit(self.r.now).dt.cast_time_unit("us"))
        lf = lf.with_columns(
            cast("order_id", i64),
            cast("line_no", i32),
            cast("customer_id", i64),
            cast("part_id", i64),
            cast("quantity", i32),
            cast("price", dec(12, 2)),
            cast("discount", dec(4, 2)),
            cast("tax", dec(4, 2)),
            c("order_date").str.to_date("%Y-%m-%d", strict=False).alias("t_order_date"),
            c("ship_date").str.to_date("%Y-%m-%d", strict=False).alias("t_ship_date"),
            c("updated_at")
            .str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="us", time_zone="UTC", strict=False)
            .alias("t_updated_at"),
        )
        up = c("op") == "upsert"
        one, zero = pl.lit(1).cast(dec(4, 2)), pl.lit(0).cast(dec(4, 2))
        R = lambda s: pl.lit(s, dtype=pl.String)
        reason = (
            pl.when(c("t_order_id").is_null() | c("t_line_no").is_null())
            .then(R("null_key"))
            .when(c("workspace_id").is_null())
            .then(R("null_workspace"))
            .when(c("t_updated_at").is_null())
            .then(R("bad_updated_at"))
            .when(c("op") == "delete")
            .then(R(None))
            .when(c("op").is_null() | (c("op") != "upsert"))
            .then(R("bad_op"))
            .when(c("t_price").is_null())
            .then(R("bad_price"))
            .when(c("t_price") < pl.lit(0).cast(dec(12, 2)))
            .then(R("negative_price"))
            .when(c("t_quantity").is_null() | (c("t_quantity") <= 0))
            .then(R("bad_quantity"))
            .when(
                c("t_discount").is_null()
                | c("t_tax").is_null()
                | (c("t_discount") < zero)
                | (c("t_discount") > one)
                | (c("t_tax") < zero)
                | (c("t_tax") > one)
            )
            .then(R("bad_discount"))
            .when(c("t_order_date").is_null() | c("t_ship_date").is_null())
            .then(R("bad_date"))
            .otherwise(R(None))
        )
        return lf.with_columns(reason.alias("_reason"))

    def silver(self):
        lf = self.checked()
        bad = lf.filter(c("_reason").is_not_null()).select(*RAW_COLS, "_reason", "_source_file", "_ingested_at")
        typed = [c(("t_" + k)).alias(k) if k in TYPES else c(k) for k in BIZ_COLS]
        good = lf.filter(c("_reason").is_null()).select("op", *typed, "_source_file", "_ingested_at")
        bad_df, good_df = pl.collect_all([bad, good], engine="streaming")  # one pass over bronze
        bad_df.write_delta(self.r.quarantine, mode="append", delta_write_options={"writer_properties": WP})
        del bad_df
        # latest per key on the narrow key columns only, then one gather of the wide rows (half the CPU of sorting the wide frame)
        keep = (
            good_df.lazy()
            .select(*KEY, "updated_at")
            .with_row_index("_i")
            .sort("updated_at", descending=True)
            .unique(subset=KEY, keep="first")
            .select("_i")
            .collect(engine="streaming")
            .to_series()
        )
        good_df = good_df[keep.sort()]
        if not DeltaTable.is_deltatable(self.r.silver):  # first load: nothing to merge with
            (
                good_df.filter(c("op") != "delete")
                .drop("op")
                .write_delta(
                    self.r.silver, mode="error", delta_write_options={"partition_by": ["workspace_id"], "writer_properties": WP}
                )
            )
            return
        (
            good_df.write_delta(
                self.r.silver,
                mode="merge",
                delta_merge_options={
                    "predicate": "t.workspace_id = s.workspace_id and t.order_id = s.order_id and t.line_no = s.line_no",
                    "source_alias": "s",
                    "target_alias": "t",
                    "writer_properties": WP,
                },
            )
            .when_matched_delete(predicate="s.op = 'delete' and s.updated_at > t.updated_at")
            .when_matched_update(
                updates={k: f"s.{k}" for k in BIZ_COLS + ["_source_file", "_ingested_at"]},
                predicate="s.op = 'upsert' and s.updated_at > t.updated_at",
            )
            .when_not_matched_insert(
                updates={k: f"s.{k}" for k in BIZ_COLS + ["_source_file", "_ingested_at"]}, predicate="s.op = 'upsert'"
            )
            .execute()
        )

    def gold(self):
        s = pl.scan_delta(self.r.silver)
        daily = s.group_by("workspace_id", "order_date", "ship_mode").agg(
            pl.len().cast(pl.Int64).alias("lines"), c("quantity").cast(pl.Int64).sum(), REV.sum().alias("revenue")
        )
        top = (
            s.group_by("workspace_id", "customer_id")
            .agg(c("order_id").n_unique().cast(pl.Int64).alias("orders"), REV.sum().alias("revenue"))
            .sort(["workspace_id", "revenue", "customer_id"], descending=[False, True, False])
            .with_columns((pl.int_range(pl.len()).over("workspace_id") + 1).cast(pl.Int32).alias("rank"))
            .filter(c("rank") <= 100)
            .select("workspace_id", "rank", "customer_id", "orders", "revenue")
        )
        daily, top = pl.collect_all([daily, top], engine="streaming")
        D = pl.Decimal(18, 4)
        for df, p in ((daily, self.r.gold_daily), (top, self.r.gold_top)):
            df.with_columns(c("revenue").cast(D)).write_delta(p, mode="overwrite", delta_write_options={"writer_properties": WP})

    def point(self, ws, date):
        r = (
            pl.scan_delta(self.r.gold_daily)
            .filter((c("workspace_id") == ws) & (c("order_date") == pl.lit(date).str.to_date()))
            .select(c("lines").sum(), c("revenue").sum())
            .collect()
            .row(0)
        )
        return r

    def scan(self):
        return (
            pl.scan_delta(self.r.silver)
            .group_by("ship_mode")
            .agg(pl.len(), c("quantity").cast(pl.Int64).sum(), REV.sum().alias("revenue"))
            .sort("ship_mode")
            .collect(engine="streaming")
            .rows()
        )


# price*(1-discount), exact: the operands are widened to scale 4 so that the product keeps 4 decimals
D4 = pl.Decimal(18, 4)
REV = c("price").cast(D4) * (pl.lit(1).cast(D4) - c("discount").cast(D4))

if __name__ == "__main__":
    main(Peer())
