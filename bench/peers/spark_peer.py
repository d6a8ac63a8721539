"""Peer (iii): PySpark + delta-spark, local[2], one JVM."""

import glob, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from common import RAW_COLS, BIZ_COLS, KEY, TYPES, main

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from place import JARS


class Peer:
    def open(self, run):
        self.r = run
        from pyspark.sql import SparkSession, functions as F, Window

        global F, Window
        mem = os.environ.get("SPARK_PEER_MEM", "6g")
        jars = ",".join(sorted(glob.glob(f"{JARS}/delta/*.jar")))
        conf = {
            "spark.jars": jars,
            "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
            "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
            "spark.driver.memory": mem,
            "spark.ui.enabled": "false",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.shuffle.partitions": os.environ.get("SPARK_PEER_SHUFFLE", "4"),
            "spark.default.parallelism": "2",
            "spark.sql.adaptive.enabled": "true",
            "spark.sql.catalogImplementation": "in-memory",
            "spark.sql.warehouse.dir": f"{run.out}/.wh",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.local.dir": f"{run.out}/.spark_tmp",
            "spark.sql.files.maxPartitionBytes": "128m",
            "spark.databricks.delta.snapshotPartitions": "2",
            "spark.databricks.delta.properties.defaults.enableDeletionVectors": os.environ.get("SPARK_PEER_DV", "false"),
            "spark.databricks.delta.optimizeWrite.enabled": "false",
            "spark.sql.parquet.compression.codec": "zstd" if os.environ.get("PEER_ZSTD") else "snappy",
            "spark.driver.extraJavaOptions": os.environ.get("SPARK_PEER_OPTS", "-XX:+UseParallelGC"),
            "spark.log.level": "ERROR",
            "spark.ui.showConsoleProgress": "false",
        }
        b = SparkSession.builder.master("local[2]").appName("medallion")
        for k, v in conf.items():
            b = b.config(k, v)
        self.s = b.getOrCreate()
        self.s.sparkContext.setLogLevel("ERROR")

    def close(self):
        self.s.stop()

    def noop(self):
        from delta.tables import DeltaTable

        assert not any(self.r.files("base")) and not any(self.r.files("change"))
        for p in (self.r.bronze, self.r.silver):
            DeltaTable.forPath(self.s, p).toDF().schema

    def ingest(self, sub):
        csv, nd = self.r.files(sub)
        schema = ", ".join(f"{c} string" for c in RAW_COLS)
        src = []
        if csv:
            src.append(
                self.s.read.schema(schema)
                .option("header", True)
                .option("escape", '"')
                .csv(csv)
                .select(*RAW_COLS, F.col("_metadata.file_name").alias("_source_file"))
            )
        if nd:
            src.append(self.s.read.schema(schema).json(nd).select(*RAW_COLS, F.col("_metadata.file_name").alias("_source_file")))
        df = src[0] if len(src) == 1 else src[0].unionByName(src[1])
        (
            df.withColumn("_ingested_at", F.lit(self.r.now))
            .write.format("delta")
            .mode("append")
            .partitionBy("workspace_id")
            .save(self.r.bronze)
        )

    def silver(self):
        from delta.tables import DeltaTable

        r = self.r
        T = {**TYPES, "updated_at": "timestamp"}
        df = self.s.read.format("delta").load(r.bronze).where(F.col("_ingested_at") == F.lit(r.now))
        df = df.select("*", *[F.expr(f"try_cast({k} as {t})").alias("t_" + k) for k, t in T.items()])
        df = df.withColumn(
            "_reason",
            F.expr("""case
             when t_order_id is null or t_line_no is null then 'null_key'
             when workspace_id is null then 'null_workspace'
             when t_updated_at is null then 'bad_updated_at'
             when op = 'delete' then null
             when op is null or op <> 'upsert' then 'bad_op'
             when t_price is null then 'bad_price'
             when t_price < 0 then 'negative_price'
             when t_quantity is null or t_quantity <= 0 then 'bad_quantity'
             when t_discount is null or t_tax is null or t_discount not between 0 and 1 or t_tax not between 0 and 1 then 'bad_discount'
             when t_order_date is null or t_ship_date is null then 'bad_date' end"""),
        )
        df.where("_reason is not null").select(*RAW_COLS, "_reason", "_source_file", "_ingested_at").coalesce(1).write.format(
            "delta"
        ).mode("append").save(r.quarantine)
        cols = BIZ_COLS + ["_source_file", "_ingested_at"]
        good = df.where("_reason is null").select("op", *[F.col("t_" + k).alias(k) if k in T else F.col(k) for k in cols])
        w = Window.partitionBy(*KEY).orderBy(F.col("updated_at").desc())
        good = good.withColumn("_rn", F.row_number().over(w)).where("_rn = 1").drop("_rn")
        if not DeltaTable.isDeltaTable(self.s, r.silver):
            good.where("op <> 'delete'").drop("op").write.format("delta").partitionBy("workspace_id").save(r.silver)
            return
        m = {k: f"s.{k}" for k in cols}
        (
            DeltaTable.forPath(self.s, r.silver)
            .alias("t")
            .merge(good.alias("s"), "t.workspace_id = s.workspace_id and t.order_id = s.order_id and t.line_no = s.line_no")
            .whenMatchedDelete("s.op = 'delete' and s.updated_at > t.updated_at")
            .whenMatchedUpdate("s.op = 'upsert' and s.updated_at > t.updated_at", set=m)
            .whenNotMatchedInsert("s.op = 'upsert'", values=m)
            .execute()
        )

    def gold(self):
        s = self.s.read.format("delta").load(self.r.silver)
        rev = F.expr("cast(sum(price * (1 - discount)) as decimal(18,4))").alias("revenue")

        def save(df, p):
            df.coalesce(1).write.format("delta").mode("overwrite").save(p)

        save(
            s.groupBy("workspace_id", "order_date", "ship_mode").agg(
                F.expr("count(*)").alias("lines"), F.expr("sum(quantity)").alias("quantity"), rev
            ),
            self.r.gold_daily,
        )
        top = s.groupBy("workspace_id", "customer_id").agg(F.expr("count(distinct order_id)").alias("orders"), rev)
        w = Window.partitionBy("workspace_id").orderBy(F.col("revenue").desc(), F.col("customer_id"))
        save(
            top.withColumn("rank", F.row_number().over(w))
            .where("rank <= 100")
            .select("workspace_id", "rank", "customer_id", "orders", "revenue"),
            self.r.gold_top,
        )

    def point(self, ws, date):
        return tuple(
            self.s.read.format("delta")
            .load(self.r.gold_daily)
            .where((F.col("workspace_id") == ws) & (F.col("order_date") == F.lit(date).cast("date")))
            .agg(F.sum("lines"), F.sum("revenue"))
            .first()
        )

    def scan(self):
        return [
            tuple(x)
            for x in self.s.read.format("delta")
            .load(self.r.silver)
            .groupBy("ship_mode")
            .agg(F.expr("count(*)"), F.expr("sum(quantity)"), F.expr("cast(sum(price * (1 - discount)) as decimal(18,4))"))
            .orderBy("ship_mode")
            .collect()
        ]


if __name__ == "__main__":
    main(Peer())
