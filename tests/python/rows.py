"""One canonical form of a row, so that what an oracle expects and what a reader found can be compared as text.

A table becomes a header (`name:kind`, sorted by name) and rows of text or null. The kind is part of it, so a timestamp that was
stored as text is a difference. Integers and strings of any width are one kind. The digest of a set of rows does not depend on their order.
"""
import csv
import hashlib
import json
import pathlib

import pyarrow as pa
import pyarrow.compute as pc

WORKSPACE = "workspace_id"


def flat(table: pa.Table) -> pa.Table:
    """Structs as one column per leaf, `user.name`; a null struct and a struct of nulls are the same."""
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def kind(arrow: pa.DataType) -> str:
    """The name of a type in the header."""
    kinds = pa.types
    if kinds.is_dictionary(arrow):
        return kind(arrow.value_type)
    if kinds.is_string(arrow) or kinds.is_large_string(arrow) or kinds.is_string_view(arrow):
        return "string"
    if kinds.is_integer(arrow):
        return "integer"
    if kinds.is_floating(arrow):
        return "double"
    if kinds.is_decimal(arrow):
        return f"decimal.{arrow.scale}"
    if kinds.is_timestamp(arrow):
        return "timestamp" if arrow.tz else "timestamp_ntz"
    return "date" if kinds.is_date(arrow) else "boolean" if kinds.is_boolean(arrow) else str(arrow)


def texts(column: pa.ChunkedArray) -> list[str | None]:
    """A column as canonical text: timestamps in UTC with microseconds, doubles by `repr`, decimals with all their digits."""
    name = kind(column.type)
    if name == "string":
        return column.to_pylist()
    if name.startswith("timestamp"):
        micros = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
        return pc.strftime(micros.cast(pa.timestamp("us")), format="%Y-%m-%dT%H:%M:%S" + ("Z" if name == "timestamp" else "")).to_pylist()
    if name in ("integer", "date") or name.startswith("decimal"):
        return column.cast(pa.string()).to_pylist()
    if name == "boolean":
        return [None if value is None else str(value).lower() for value in column.to_pylist()]
    if name == "double":
        return [None if value is None else repr(value) for value in column.to_pylist()]
    return [None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str) for value in column.to_pylist()]


class Rows:
    """The rows of one table by workspace, each as one line of JSON, sorted."""

    def __init__(self, table: pa.Table) -> None:
        """`table` has a column `workspace_id`; columns whose name starts with `_` are bookkeeping and left out."""
        table = flat(table)
        names = sorted(name for name in table.column_names if name != WORKSPACE and not name.startswith("_"))
        self.header = [f"{name}:{kind(table.schema.field(name).type)}" for name in names]
        self.by_workspace: dict[str, list[str]] = {}
        rows = zip(*(texts(table.column(name)) for name in names)) if names else ((),) * table.num_rows
        encode = json.JSONEncoder(ensure_ascii=False).encode
        for workspace, row in zip(table.column(WORKSPACE).cast(pa.string()).to_pylist(), rows):
            self.by_workspace.setdefault(str(workspace), []).append(encode(row))
        for found in self.by_workspace.values():
            found.sort()

    def digest(self, workspace: str) -> str:
        """SHA-256 over the header and the sorted rows."""
        digest = hashlib.sha256(json.dumps(self.header).encode())
        digest.update("\n".join(self.by_workspace[workspace]).encode())
        return digest.hexdigest()

    def summary(self, digests: bool = True) -> dict:
        """`{"columns", "rows", "workspaces": {name: {"rows", "digest"}}}`; only the counts when `digests` is false."""
        spaces = {}
        for workspace in sorted(self.by_workspace):
            spaces[workspace] = {"rows": len(self.by_workspace[workspace])} | ({"digest": self.digest(workspace)} if digests else {})
        return {"rows": sum(s["rows"] for s in spaces.values()), "workspaces": spaces} | ({"columns": self.header} if digests else {})

    def write_csv(self, path: pathlib.Path) -> None:
        """The rows for a person to look at, null as `\\N`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow([WORKSPACE] + self.header)
            for workspace in sorted(self.by_workspace):
                for row in map(json.loads, self.by_workspace[workspace]):
                    writer.writerow([workspace] + ["\\N" if value is None else value for value in row])
