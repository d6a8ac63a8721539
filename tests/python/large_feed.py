#!/usr/bin/env python3
"""A feed of any size for `tests/pipelines/large.yaml`, and what must become of it.

    large_feed.py write --out DIR --phase base|change --megabytes N
    large_feed.py check --data DIR --lake DIR

`write` makes `events-<phase>-*.ndjson` (ids that come again with newer and older states, deletes, amounts that do not fit, rows of nobody) and
`authors-<phase>.csv`; the same arguments make the same bytes. `check` works out every table from the files with DuckDB, which shares nothing
with the code it checks, and exits with 1 when a table of the lake differs. Both need little memory.
"""
import argparse
import pathlib
import sys

import duckdb
from deltalake import DeltaTable

EVENT_BYTES, AUTHOR_BYTES = 302, 132
FILES = 8
# Phases draw from numbers of their own, so that a change brings new events.
FIRST = {"base": 0, "change": 1 << 31}
FIELDS = "{workspace_id: 'VARCHAR', id: 'VARCHAR', op: 'VARCHAR', \"user\": 'STRUCT(name VARCHAR)', kind: 'VARCHAR', amount: 'VARCHAR', seen: 'VARCHAR', body: 'VARCHAR'}"


def connect(folder: pathlib.Path) -> duckdb.DuckDBPyConnection:
    """A database that spills to `folder`."""
    db = duckdb.connect()
    db.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '3GB'; SET temp_directory = '{folder / '.duckdb'}'; SET preserve_insertion_order = false")
    return db


def random(number: str, salt: str, below: int) -> str:
    """SQL of a number from 0 to `below`, the same for the same `number` and `salt`."""
    return f"(hash({number}, '{salt}') % {below})"


def workspace(number: str) -> str:
    """SQL of one of twenty workspaces, the first with a third of all rows."""
    return f"'w' || least(19, floor(-3 * ln(({random(number, 'w', 999_983)} + 1) / 1e6)))::INTEGER"


def time(number: str) -> str:
    """SQL of a time that no other number has."""
    return f"strftime(make_timestamp(1700000000000000 + (({number} * 2654435761) % 4294967296)::BIGINT * 1000), '%Y-%m-%dT%H:%M:%S.%gZ')"


def text(number: str, words: int) -> str:
    """SQL of a text that does not compress well."""
    return " || ' ' || ".join(f"to_base((hash({number}, {word}) >> 1)::BIGINT, 36)" for word in range(words))


def write(out: pathlib.Path, phase: str, megabytes: int) -> None:
    """Writes the files of a phase. A change meets the keys of a base of ten times its size."""
    out.mkdir(parents=True, exist_ok=True)
    db = connect(out)
    size = megabytes * 1_000_000
    events, authors = int(size * 0.9) // EVENT_BYTES, int(size * 0.1) // AUTHOR_BYTES
    scale = 10 if phase == "change" else 1
    keys, names = events * scale * 6 // 10, authors * scale * 8 // 10
    each, first = -(-events // FILES), FIRST[phase]
    for part in range(FILES):
        begin = first + part * each
        db.execute(f"""COPY (SELECT
              CASE WHEN {random('i', 'n', 1009)} = 0 THEN NULL ELSE {workspace('k')} END AS workspace_id,
              'e' || lpad(k::VARCHAR, 9, '0') AS id, CASE WHEN {random('i', 'd', 20)} = 0 THEN 'D' ELSE 'U' END AS op,
              {{name: 'author ' || {random('k', 'a', names)}::VARCHAR}} AS user, 'kind ' || {random('i', 'k', 12)}::VARCHAR AS kind,
              CASE {random('i', 'f', 211)} WHEN 0 THEN 'many' WHEN 1 THEN '-5' ELSE {random('i', 'm', 100_000)}::VARCHAR END AS amount,
              {time('i')} AS seen, {text('i', 11)} AS body
            FROM (SELECT range AS i, {random('range', 'key', keys)} AS k FROM range({begin}, {min(begin + each, first + events)})))
            TO '{out / f"events-{phase}-{part}.ndjson"}' (FORMAT json)""")
    db.execute(f"""COPY (SELECT {workspace('n')} AS workspace_id, 'author ' || n::VARCHAR AS name, 'country ' || {random('i', 'c', 90)}::VARCHAR AS country,
          {time('i')} AS joined, {text('i', 6)} AS about
        FROM (SELECT range AS i, {random('range', 'name', names)} AS n FROM range({first}, {first + authors})))
        TO '{out / f"authors-{phase}.csv"}' (FORMAT csv, HEADER)""")


def expect(db: duckdb.DuckDBPyConnection, data: pathlib.Path) -> None:
    """Tables named after those of the lake."""
    db.execute(f"""CREATE TABLE events AS SELECT workspace_id, id, op, "user".name AS author, kind, try_cast(amount AS BIGINT) AS amount, seen::TIMESTAMP AS seen, body
        FROM read_json('{data}/events-*.ndjson', format = 'newline_delimited', columns = {FIELDS})""")
    db.execute(f"CREATE TABLE authors AS SELECT * REPLACE (joined::TIMESTAMP AS joined) FROM read_csv('{data}/authors-*.csv', header = true, all_varchar = true)")
    db.execute("CREATE VIEW bronze_events AS SELECT workspace_id, id, op, kind, body FROM events WHERE workspace_id IS NOT NULL")
    db.execute("CREATE VIEW bronze_events_quarantine AS SELECT '__unassigned__' AS workspace_id, id, body FROM events WHERE workspace_id IS NULL")
    db.execute("CREATE VIEW bronze_authors AS SELECT workspace_id, name, country, about FROM authors")
    fits = "amount IS NOT NULL AND amount >= 0"
    db.execute(f"CREATE VIEW silver_events_quarantine AS SELECT workspace_id, id, body FROM events WHERE workspace_id IS NOT NULL AND op = 'U' AND NOT ({fits})")
    db.execute(f"""CREATE TABLE silver_events AS SELECT e.workspace_id, e.id, author, kind, amount, e.seen, body FROM events e
        JOIN (SELECT workspace_id, id, max(seen) AS seen FROM events WHERE op = 'D' OR {fits} GROUP BY ALL) newest
          ON e.workspace_id = newest.workspace_id AND e.id = newest.id AND e.seen = newest.seen WHERE op = 'U'""")
    db.execute("""CREATE TABLE silver_authors AS SELECT a.workspace_id, a.name, country, a.joined, about FROM authors a
        JOIN (SELECT workspace_id, name, max(joined) AS joined FROM authors GROUP BY ALL) newest
          ON a.workspace_id = newest.workspace_id AND a.name = newest.name AND a.joined = newest.joined""")
    db.execute("""CREATE VIEW gold_by_author AS SELECT workspace_id, author, count(*) AS events, count(DISTINCT kind) AS kinds, sum(amount) AS amount, max(seen) AS latest
        FROM silver_events GROUP BY ALL""")
    db.execute("""CREATE VIEW gold_by_kind AS SELECT workspace_id, kind, count(*) AS events, count(DISTINCT author) AS authors, count(DISTINCT id) AS ids, sum(amount) AS amount
        FROM silver_events GROUP BY ALL""")
    db.execute("""CREATE VIEW gold_recent AS SELECT * EXCLUDE (place) FROM (
        SELECT e.workspace_id, e.id, e.author, a.country, e.seen, e.amount, row_number() OVER (newest) AS place, sum(e.amount) OVER (oldest) AS running
        FROM silver_events e JOIN silver_authors a ON a.workspace_id = e.workspace_id AND a.name = e.author
        WINDOW newest AS (PARTITION BY e.workspace_id, e.author ORDER BY e.seen DESC, e.id), oldest AS (PARTITION BY e.workspace_id, e.author ORDER BY e.seen, e.id))
        WHERE place <= 2""")


def digest(db: duckdb.DuckDBPyConnection, relation: str, columns: list[str]) -> dict[str, tuple[int, int]]:
    """Rows and the sum of their hashes, by workspace."""
    as_text = lambda c: f"epoch_us(\"{c}\"::TIMESTAMP)::VARCHAR" if c in ("seen", "latest", "joined") else f'"{c}"::VARCHAR'
    row = ", ".join(f"coalesce({as_text(c)}, '~')" for c in columns)
    found = db.execute(f"SELECT workspace_id, count(*), sum(hash(concat_ws('|', {row}))::HUGEINT) FROM {relation} GROUP BY 1").fetchall()
    return {workspace: (rows, total) for workspace, rows, total in found}


def check(data: pathlib.Path, lake: pathlib.Path) -> list[str]:
    """One line for each table and workspace that differs."""
    db = connect(data)
    expect(db, data)
    wrong = []
    for (name,) in db.execute("SELECT table_name FROM information_schema.tables WHERE table_name SIMILAR TO '(bronze|silver|gold)_.*' ORDER BY 1").fetchall():
        layer, table = name.split("_", 1)
        files = [str(pathlib.Path(uri)) for uri in DeltaTable(str(lake / layer / table)).file_uris()]
        columns = [c for (c,) in db.execute(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{name}' AND column_name <> 'workspace_id'").fetchall()]
        stored = f"read_parquet({files}, hive_partitioning = true, hive_types_autocast = false, union_by_name = true)"
        want, have = digest(db, name, columns), digest(db, stored, columns)
        for workspace in sorted(want.keys() | have.keys()):
            wanted, seen = want.get(workspace, (0, 0)), have.get(workspace, (0, 0))
            if wanted != seen:
                wrong.append(f"{layer}.{table} of {workspace}: {seen[0]} rows, {wanted[0]} expected" + (", and their content differs" if wanted[0] == seen[0] else ""))
        print(f"{layer}.{table}: {sum(rows for rows, _ in want.values())} rows expected, {len(files)} files", file=sys.stderr)
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    writes = commands.add_parser("write")
    writes.add_argument("--out", required=True, type=pathlib.Path)
    writes.add_argument("--phase", required=True, choices=sorted(FIRST))
    writes.add_argument("--megabytes", required=True, type=int)
    checks = commands.add_parser("check")
    checks.add_argument("--data", required=True, type=pathlib.Path)
    checks.add_argument("--lake", required=True, type=pathlib.Path)
    args = parser.parse_args()
    if args.command == "write":
        write(args.out, args.phase, args.megabytes)
    else:
        wrong = check(args.data, args.lake)
        print("\n".join(wrong))
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
