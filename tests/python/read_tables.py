#!/usr/bin/env python3
"""Opens every Delta table of a lake with one reader, and nothing of `lake`, and says what that reader found in it.

    read_tables.py --lake DIR|s3://BUCKET/PREFIX --reader polars|duckdb|deltalake|spark --out actual.json [--rows]

A lake on S3 is reached with `AWS_ENDPOINT_URL` and the other variables of that kind. The result has the shape of `oracle.py`'s `tables`. With `--rows` the rows are written beside it, `actual/<table>.csv`.
"""
import argparse
import atexit
import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

import places
from rows import WORKSPACE, Rows

LAYERS = ["bronze", "silver", "gold"]


def polars_reader() -> Callable[[str], pa.Table]:
    """Polars: the log through delta-rs, the files through its own Parquet reader."""
    import polars

    return lambda place: polars.read_delta(place, storage_options=places.options(place)).to_arrow()


def deltalake_reader() -> Callable[[str], pa.Table]:
    """The `deltalake` package: the log by delta-rs, the files by PyArrow."""
    from deltalake import DeltaTable

    return lambda place: DeltaTable(place, storage_options=places.options(place)).to_pyarrow_table()


def duckdb_reader() -> Callable[[str], pa.Table]:
    """DuckDB's Parquet reader over the files that the log names.

    DuckDB's own `delta` extension is not in its package but downloaded on first use, which a test must not do. So the log is read by the
    `deltalake` package, and DuckDB proves that the files, their types and their values are readable; the partition's value comes from the log.
    """
    import duckdb
    from deltalake import DeltaTable

    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'; SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")

    def read(place: str) -> pa.Table:
        table = DeltaTable(place)
        actions = pa.table(table.get_add_actions(flatten=True))
        if not actions.num_rows:
            return pa.schema(table.schema().to_arrow()).empty_table()
        files = [os.path.join(place, unquote(name)) for name in actions.column("path").to_pylist()]
        partitions = {name: actions.column(f"partition.{name}") for name in table.metadata().partition_columns}
        db.register("file_partitions", pa.table({"filename": files} | partitions))
        listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        return db.sql(
            f"SELECT f.* EXCLUDE (filename), p.* EXCLUDE (filename) FROM file_partitions p JOIN"
            f" read_parquet([{listed}], union_by_name = true, hive_partitioning = false, filename = true) f USING (filename)"
        ).to_arrow_table()

    return read


def java_home() -> str:
    """A Java 17, which Spark needs: `JAVA_HOME`, the `java` on the path, or a usual place of Linux systems."""
    homes = [os.environ.get("JAVA_HOME", ""), *glob.glob("/usr/lib/jvm/*17*")]
    for home in homes + [""]:
        java = os.path.join(home, "bin", "java") if home else "java"
        try:
            version = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        except OSError:
            continue
        if re.search(r'version "17\.', version):
            return home
    raise SystemExit("Spark needs Java 17 and none was found: install it (Debian: `apt-get install openjdk-17-jre-headless`) or set JAVA_HOME")


def spark_reader() -> Callable[[str], pa.Table]:
    """Spark with Delta's own library, from the jars beside this Python; it asks no network."""
    jars = sorted(glob.glob(os.path.join(sys.prefix, "jars", "*.jar")))
    if not jars:
        raise SystemExit(f"Delta's jars are not in {sys.prefix}/jars: run this by the environment that the end-to-end tests make")
    if home := java_home():
        os.environ["JAVA_HOME"] = home
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    scratch = tempfile.mkdtemp(prefix="lake-spark-")
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    settings = {
        "spark.jars": ",".join(jars), "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog", "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": f"{scratch}/warehouse", "spark.local.dir": f"{scratch}/local", "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC", "spark.sql.shuffle.partitions": "2", "spark.databricks.delta.snapshotPartitions": "1", "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[2]").appName("read_tables")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    return lambda place: session.read.format("delta").load(place).toArrow()


READERS = {"polars": polars_reader, "duckdb": duckdb_reader, "deltalake": deltalake_reader, "spark": spark_reader}
# Their S3 clients are downloaded on first use, which a test must not do. They read a copy on disk: a Delta table is the same wherever it is.
LOCAL_ONLY = ("duckdb", "spark")


def delta_tables(lake: str) -> dict[str, str]:
    """`layer.name` -> place of every table."""
    names = {(layer, name.split("/")[0]) for layer in LAYERS for name in places.files(f"{lake}/{layer}") if name.split("/")[1:2] == ["_delta_log"]}
    return {f"{layer}.{name}": f"{lake}/{layer}/{name}" for layer, name in sorted(names)}


def summarise(name: str, table: pa.Table, folder: pathlib.Path | None) -> dict:
    """One table as `oracle.py` has it: the digest of a bronze table is over the records that fit its columns."""
    rows = Rows(table)
    if folder:
        rows.write_csv(folder / f"{name}.csv")
    entry = rows.summary()
    if name.startswith("bronze.") and "_rescued" in table.column_names:
        whole = Rows(table.filter(pc.is_null(table.column("_rescued")))).summary()
        for workspace, space in entry["workspaces"].items():
            space["digest"] = whole["workspaces"].get(workspace, {}).get("digest")
    return entry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", required=True)
    parser.add_argument("--reader", required=True, choices=sorted(READERS))
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--rows", action="store_true")
    args = parser.parse_args()
    # What an earlier call found must not be taken for what this one failed to find.
    args.out.unlink(missing_ok=True)
    lake = places.resolved(args.lake)
    if places.is_remote(lake) and args.reader in LOCAL_ONLY:
        scratch = tempfile.mkdtemp(prefix="lake-copy-")
        atexit.register(shutil.rmtree, scratch, ignore_errors=True)
        lake = places.copied(lake, scratch)
    found = delta_tables(lake)
    if not found:
        raise SystemExit(f"there is no Delta table below {args.lake}")
    read = READERS[args.reader]()
    folder = args.out.with_suffix("") if args.rows else None
    tables = {}
    for name, place in found.items():
        table = read(place)
        if WORKSPACE not in table.column_names:
            raise SystemExit(f"{name} has no column `{WORKSPACE}`")
        tables[name] = summarise(name, table, folder)
    args.out.write_text(json.dumps({"reader": args.reader, "tables": tables}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
    # The threads of some readers abort the process now and then while Python takes itself down, when all is written.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)
