"""Raw files as records, by Python's own `json` and `csv`: every scalar as the text that was delivered.

Each record becomes a row of the leaf columns, with `_broken` when it does not fit them (not a JSON object, a scalar where an object was
expected, a CSV row with too many or too few fields), `_file` and `_record`. A blank line is no record.
"""
import csv
import gzip
import io
import json
import pathlib
from collections.abc import Iterator

import pyarrow as pa


def content(path: pathlib.Path) -> bytes:
    """The file's bytes, after gzip."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def refuse_constant(name: str) -> None:
    """`NaN` and `Infinity`, which Python takes, are not JSON."""
    raise ValueError(name)


def leaves(value: dict, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """The scalars of an object as (dotted name, text)."""
    for name, item in value.items():
        if isinstance(item, dict):
            yield from leaves(item, f"{prefix}{name}.")
        elif isinstance(item, bool):
            yield prefix + name, str(item).lower()
        elif item is None or isinstance(item, str):
            yield prefix + name, item
        else:
            raise SystemExit(f"the oracle has no rule for a list in `{prefix}{name}`")


def ndjson(path: pathlib.Path, columns: list[str]) -> Iterator[dict]:
    """The records of an NDJSON file."""
    objects = {name.rsplit(".", 1)[0] for name in columns if "." in name}
    for text in content(path).split(b"\n"):
        if not text.strip():
            continue
        try:
            value = json.loads(text, parse_int=str, parse_float=str, parse_constant=refuse_constant)
        except ValueError:
            value = None
        if not isinstance(value, dict) or text.strip()[:1] != b"{":
            yield {"_broken": True}
            continue
        record = dict(leaves(value))
        flattened = [name for name in objects if record.pop(name, None) is not None]
        unknown = set(record) - set(columns)
        if unknown:
            raise SystemExit(f"the oracle has no rule for the field(s) {sorted(unknown)} in {path.name}")
        yield record | {"_broken": bool(flattened)}


def delimited(path: pathlib.Path, columns: list[str]) -> Iterator[dict]:
    """The records of a CSV file with a header; an empty field is null. A row of another length keeps its fields by position."""
    reader = csv.reader(io.StringIO(content(path).decode(), newline=""), strict=True)
    header = next(reader)
    if header != columns:
        raise SystemExit(f"{path.name} has the columns {header}, not {columns}")
    for fields in reader:
        if fields:
            yield dict(zip(header, (field or None for field in fields))) | {"_broken": len(fields) != len(header)}


READERS = {"ndjson": ndjson, "csv": delimited}


def load(paths: list[pathlib.Path], form: str, columns: list[str]) -> pa.Table:
    """All records of the files as one table of text columns."""
    data: dict[str, list] = {name: [] for name in [*columns, "_broken", "_file", "_record"]}
    for path in paths:
        for number, record in enumerate(READERS[form](path, columns)):
            for name in columns:
                data[name].append(record.get(name))
            data["_broken"].append(record["_broken"])
            data["_file"].append(path.name)
            data["_record"].append(number)
    types = {"_broken": pa.bool_(), "_record": pa.int64()}
    return pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in data.items()})
