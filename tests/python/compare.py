#!/usr/bin/env python3
"""Says what differs between what an oracle expects and what a reader found, by table and workspace; exit 1 when anything does.

    compare.py --expected expected.json --actual actual.json [--report run.json]

With `--report` the counts of a run are compared too. Where both sides wrote their rows, up to five differing rows are shown.
"""
import argparse
import csv
import json
import pathlib
import sys
from collections import Counter

SHOWN = 5
# Tables that stand beside a silver table and that the oracle does not describe.
BESIDE = ("_tombstones",)


def rows_of(document: pathlib.Path, table: str, workspace: str) -> Counter | None:
    """The written rows of one workspace, or none when they were not written."""
    path = document.with_suffix("") / f"{table}.csv"
    if not path.exists():
        return None
    with open(path, newline="", encoding="utf-8") as file:
        return Counter(tuple(row[1:]) for row in csv.reader(file) if row and row[0] == workspace)


def sample(args: argparse.Namespace, table: str, workspace: str) -> list[str]:
    """A few rows that one side has and the other has not."""
    wanted, found = rows_of(args.expected, table, workspace), rows_of(args.actual, table, workspace)
    if wanted is None or found is None:
        return []
    lines = []
    for label, rows in (("missing", wanted - found), ("not expected", found - wanted)):
        lines += [f"    {label}: {row}" for row in sorted(rows.elements())[:SHOWN]]
    return lines


def differences(args: argparse.Namespace, expected: dict, actual: dict) -> list[str]:
    """One line per difference of the tables."""
    found = []
    for table, want in sorted(expected.items()):
        have = actual.get(table)
        if have is None:
            if want["rows"]:
                found.append(f"{table}: there is no such table; {want['rows']} rows expected")
            continue
        if "columns" in want and want["columns"] != have["columns"]:
            missing, surplus = sorted(set(want["columns"]) - set(have["columns"])), sorted(set(have["columns"]) - set(want["columns"]))
            found.append(f"{table}: columns differ: missing {missing}, not expected {surplus}")
        for workspace in sorted(want["workspaces"].keys() | have["workspaces"].keys()):
            wanted, seen = want["workspaces"].get(workspace, {"rows": 0}), have["workspaces"].get(workspace, {"rows": 0})
            if wanted["rows"] != seen["rows"]:
                found.append(f"{table} of {workspace}: {seen['rows']} rows, {wanted['rows']} expected")
            elif "digest" in wanted and wanted["digest"] != seen.get("digest"):
                found.append(f"{table} of {workspace}: the number of rows is right ({wanted['rows']}), their content is not")
            else:
                continue
            found += sample(args, table, workspace)
    for table in sorted(actual.keys() - expected.keys()):
        if not table.endswith(BESIDE):
            found.append(f"{table}: not expected at all")
    return found


def count_differences(expected: dict, report: dict) -> list[str]:
    """One line per count of a run that is not as expected."""
    tables = {entry["table"]: entry for entry in report["tables"]}
    found = []
    for table, counts in expected["counts"].items():
        if table not in tables:
            found.append(f"{table}: not in the report")
            continue
        found += [f"{table}: rows_{name} is {tables[table].get(f'rows_{name}')}, {count} expected" for name, count in counts.items() if tables[table].get(f"rows_{name}") != count]
    for table, expectations in expected["expectations"].items():
        reported = tables.get(table, {}).get("expectations", {})
        found += [f"{table}: expectation {name} is {reported.get(name)}, {want} expected" for name, want in expectations.items() if reported.get(name) != want]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--expected", required=True, type=pathlib.Path)
    parser.add_argument("--actual", required=True, type=pathlib.Path)
    parser.add_argument("--report", type=pathlib.Path)
    args = parser.parse_args()
    expected, actual = json.loads(args.expected.read_text("utf-8")), json.loads(args.actual.read_text("utf-8"))
    found = differences(args, expected["tables"], actual["tables"])
    if args.report:
        found += count_differences(expected, json.loads(args.report.read_text("utf-8")))
    print("\n".join(found) if found else f"all {len(expected['tables'])} tables are as expected")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
