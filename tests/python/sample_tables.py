#!/usr/bin/env python3
"""Writes a lake of Delta tables from what the oracle expects, so that the readers and `compare.py` can be tested on their own.

    sample_tables.py --pipeline quickstart --data DIR --lake DIR [--spoil silver.posts]

Each table has a history (rows that a later commit takes away), so a reader that lists the folder instead of the log is found out. With
`--spoil` one value of that table is changed.
"""
import argparse
import pathlib

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake

import oracle
from specs import SPECS


def delivered(table: pa.Table) -> pa.Table:
    """A bronze table with `user.name` as a struct again and `_rescued` in place of `_broken`."""
    columns, structs = {}, {}
    for name in table.column_names:
        if "." in name:
            parent, leaf = name.split(".", 1)
            structs.setdefault(parent, {})[leaf] = table.column(name).combine_chunks()
        elif name not in ("_broken", "_file", "_record"):
            columns[name] = table.column(name)
    for parent, children in structs.items():
        columns[parent] = pa.StructArray.from_arrays(list(children.values()), names=list(children))
    broken = table.column("_broken")
    return pa.table(columns | {"_rescued": pc.if_else(broken, pa.scalar("{}"), pa.scalar(None, pa.string())), "_source": table.column("_file")})


def spoilt(table: pa.Table) -> pa.Table:
    """The table with another value in one row of the first text column that is not the workspace."""
    name = next(field.name for field in table.schema if pa.types.is_string(field.type) and field.name != "workspace_id")
    values = table.column(name).to_pylist()
    values[len(values) // 2] = f"{values[len(values) // 2]} "
    return table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pipeline", required=True, choices=sorted(SPECS))
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--lake", required=True, type=pathlib.Path)
    parser.add_argument("--spoil", default="")
    args = parser.parse_args()
    spec = SPECS[args.pipeline]
    for name, (table, compared) in oracle.tables(oracle.build(spec, args.data), spec).items():
        if name.startswith("bronze.") and compared:
            table = delivered(table)
        if not compared:
            table = table.append_column("_reason", pa.array(["sample"] * table.num_rows))
        if name == args.spoil:
            table = spoilt(table)
        path = args.lake / name.replace(".", "/")
        half = table.num_rows // 2
        write_deltalake(path, table, partition_by=["workspace_id"])
        write_deltalake(path, table.slice(0, half), mode="overwrite")
        write_deltalake(path, table.slice(half), mode="append")
        DeltaTable(path).create_checkpoint()


if __name__ == "__main__":
    main()
