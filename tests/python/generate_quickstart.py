#!/usr/bin/env python3
"""Writes the quickstart's data: `posts/part-*.ndjson[.gz]` and `brands/part-*.csv`. Standard library only; the same bytes every time.

    generate_quickstart.py [--out data/quickstart]     write
    generate_quickstart.py --check [--out ...]         exit 1 if the files are not what this script makes

The feed is as bad as real feeds are, on purpose. Each kind of trouble is one function below.
"""
import argparse
import csv
import datetime as dt
import gzip
import io
import json
import pathlib
import random
import sys

from feed import BRANDS, UTC, deletion, iso, iso_millis, line, long_text, newer, post

SEED = 20250901
START = dt.datetime(2025, 9, 1, tzinfo=UTC)
FILES = 4
DAYS_PER_FILE = 7
POSTS = {"acme": 2500, "globex": 1750}
BRAND_COLUMNS = ["workspace_id", "brand_id", "name", "industry", "country", "founded", "monthly_budget", "active", "updated_at"]


class Feed:
    """The lines of each file while they are collected. `put` takes an event, `raw` a line as it stands."""

    def __init__(self) -> None:
        self.rng = random.Random(SEED)
        self.files: list[list[str]] = [[] for _ in range(FILES)]

    def put(self, file: int, event: dict) -> None:
        self.files[file].append(line(self.rng, event))

    def raw(self, file: int, text: str) -> None:
        self.files[file].append(text)

    def somewhere(self) -> int:
        return self.rng.randrange(FILES)

    def fresh(self, workspace: str, post_id: str, file: int) -> dict:
        start = START + dt.timedelta(days=file * DAYS_PER_FILE)
        return post(self.rng, workspace, post_id, start + dt.timedelta(seconds=self.rng.randrange(DAYS_PER_FILE * 86_400)))


def ordinary(feed: Feed) -> list[tuple[int, dict]]:
    """Posts as they are created; ids are counted per workspace, so both have a `p00001`."""
    made = []
    for workspace, count in POSTS.items():
        for number in range(1, count + 1):
            file = feed.somewhere()
            event = feed.fresh(workspace, f"p{number:05}", file)
            feed.put(file, event)
            made.append((file, event))
    return made


def updates(feed: Feed, made: list[tuple[int, dict]]) -> None:
    """Newer states in the same or a later file, and older states that come late, after a newer one."""
    for file, event in feed.rng.sample(made, 800):
        feed.put(feed.rng.randint(file, FILES - 1), newer(feed.rng, event, dt.timedelta(hours=feed.rng.randint(1, 100))))
    early = [m for m in made if m[0] < FILES - 1]
    for file, event in feed.rng.sample(early, 120):
        feed.put(feed.rng.randint(file + 1, FILES - 1), newer(feed.rng, event, dt.timedelta(minutes=-feed.rng.randint(1, 300))))


def redeliveries(feed: Feed, made: list[tuple[int, dict]]) -> None:
    """The same event again, in the same file and in another one."""
    for index, (file, event) in enumerate(feed.rng.sample(made, 150)):
        feed.put(file if index % 2 else (file + 1) % FILES, event)


def ties(feed: Feed, made: list[tuple[int, dict]]) -> None:
    """Two states with the very same `updated`: the content must decide. `9` and `10` differ as text and as number."""
    for index, (file, event) in enumerate(feed.rng.sample(made, 60)):
        other = newer(feed.rng, event, dt.timedelta(hours=200))
        if index % 3 == 0:
            pair = dict(other, likes=9), dict(other, likes=10)
        elif index % 3 == 1:
            pair = dict(other, text="Zebra crossing outside the shop, mind the paint."), dict(other, text="a zebra, really? 🦓")
        else:
            pair = dict(other, url=None), other
        for event in pair if index % 2 else reversed(pair):
            feed.put(feed.somewhere(), event)


def deletes(feed: Feed, made: list[tuple[int, dict]]) -> None:
    """Deletes of known and unknown posts, before an older update arrives, at the same instant as an update, and undone later."""
    chosen = feed.rng.sample(made, 150)
    for file, event in chosen[:80]:
        feed.put(feed.rng.randint(file, FILES - 1), deletion(event, dt.timedelta(hours=500)))
    for _, event in chosen[80:110]:
        feed.put(0, deletion(event, dt.timedelta(hours=500)))
        feed.put(FILES - 1, newer(feed.rng, event, dt.timedelta(hours=400)))
    for _, event in chosen[110:130]:
        feed.put(feed.somewhere(), deletion(event, dt.timedelta(hours=600)))
        feed.put(feed.somewhere(), newer(feed.rng, event, dt.timedelta(hours=601)))
    for _, event in chosen[130:140]:
        feed.put(feed.somewhere(), deletion(event, dt.timedelta(hours=700)))
        feed.put(feed.somewhere(), newer(feed.rng, event, dt.timedelta(hours=700)))
    # A delete that carries nonsense in other fields is still a delete: only its key and time count.
    for _, event in chosen[140:]:
        feed.put(feed.somewhere(), dict(event, op="D", likes="many", text="", updated=iso_millis(START + dt.timedelta(days=90))))
    for number in range(12):
        feed.put(feed.somewhere(), deletion(feed.fresh("acme", f"p9{number:04}", 0), dt.timedelta()))


def broken_lines(feed: Feed) -> None:
    """Lines that are not a JSON object, lines that are an empty one, and blank lines (which are no records at all)."""
    for index in range(12):
        whole = line(feed.rng, feed.fresh("acme", f"t{index:05}", 0))
        feed.raw(index % FILES, whole[: len(whole) * (index + 1) // 14])
    for index, text in enumerate(['["p00001","acme"]', '"just a string"', "42", "null", "true", "upstream timed out after 30s", '{"id":"p00001",}', "{'id':'p00001'}"]):
        feed.raw(index % FILES, text)
    for index in range(6):
        feed.raw(index % FILES, "{}")
        feed.raw(index % FILES, "")


def without_workspace(feed: Feed) -> None:
    """Rows that name no workspace, or a name that is refused. They belong to nobody and must reach nobody."""
    names = [None, None, None, "", "", " acme", "acme ", "acme\u0007", "ac\nme", "__unassigned__", "__system", "x" * 201, ".", ".."]
    for index, name in enumerate(names):
        feed.put(index % FILES, dict(feed.fresh("acme", f"w{index:05}", 0), workspace_id=name))
    for index in range(6):
        event = feed.fresh("globex", f"v{index:05}", 0)
        del event["workspace_id"]
        feed.put(index % FILES, event)


def invalid(feed: Feed, made: list[tuple[int, dict]]) -> None:
    """Rows that cannot become a post. Most are newer than a good row of the same key, which must stay as it is."""
    faults = [
        {"id": None}, {"likes": "many"}, {"likes": "12 likes"}, {"likes": -5}, {"created": "2025-02-31T10:00:00Z"}, {"created": None}, {"created": "soon"}, {"text": ""},
        {"text": None}, {"user": None}, {"user": {"name": None, "followers": 4}}, {"user": "lina.vasko"}, {"sentiment": "positive"}, {"updated": "yesterday"}, {"updated": None}, {"brand": None},
    ]
    for index, (_, event) in enumerate(feed.rng.sample(made, 8 * len(faults))):
        feed.put(feed.somewhere(), dict(newer(feed.rng, event, dt.timedelta(hours=800)), **faults[index % len(faults)]))
    for index, (_, event) in enumerate(feed.rng.sample(made, 20)):
        gone = newer(feed.rng, event, dt.timedelta(hours=810))
        for name in ["id"] if index % 2 else ["text", "user"]:
            del gone[name]
        feed.put(feed.somewhere(), gone)
    for index, (_, event) in enumerate(feed.rng.sample(made, 8)):
        feed.put(feed.somewhere(), dict(deletion(event, dt.timedelta(hours=820)), **({"id": None} if index % 2 else {"updated": "2025-13-01T00:00:00.000Z"})))


def implausible(feed: Feed) -> None:
    """Rows that are well formed, but older than the platforms; some are empty too, and then quarantine comes before drop."""
    for index in range(18):
        event = feed.fresh("globex" if index % 2 else "acme", f"o{index:05}", 0)
        old = dict(event, id=f"p8{index:04}", created=iso(dt.datetime(1999 + index % 7, 5, 1 + index, tzinfo=UTC)), url=None)
        feed.put(feed.somewhere(), dict(old, text="") if index % 6 == 0 else old)


def unusual(feed: Feed) -> None:
    """Rows that are right but rare: very long, without likes or sentiment, from a platform nobody listed; and heartbeats."""
    for index, size in enumerate([300, 350, 400, 500, 700, 900, 1_200, 2_000, 4_000, 9_000]):
        event = feed.fresh("acme" if index % 3 else "globex", f"p7{index:04}", 1)
        feed.put(feed.somewhere(), dict(event, text=long_text(feed.rng, event["brand"], size), lang="en"))
    for index, fault in enumerate([{"likes": None}, {"sentiment": None}, {"platform": "gramophone"}, {"platform": None}, {"lang": None}, {"url": None}] * 5):
        feed.put(feed.somewhere(), dict(feed.fresh("globex" if index % 4 else "acme", f"p6{index:04}", 2), **fault))
    for index in range(12):
        feed.put(index % FILES, {"workspace_id": "acme" if index % 3 else "globex", "op": "H", "updated": iso_millis(START + dt.timedelta(days=2 * index))})


def posts() -> list[str]:
    """The text of each file of the feed."""
    feed = Feed()
    made = ordinary(feed)
    for trouble in (updates, redeliveries, ties, deletes, invalid):
        trouble(feed, made)
    for trouble in (broken_lines, without_workspace, implausible, unusual):
        trouble(feed)
    for lines in feed.files:
        feed.rng.shuffle(lines)
    return ["".join(text + "\n" for text in lines) for lines in feed.files]


def brand_rows(rng: random.Random) -> tuple[list[list[str]], list[list[str]]]:
    """Good brand rows of the first and of the second export; the second changes budgets and holds some old rows."""
    first, second = [], []
    for workspace in POSTS:
        for brand_id, name, industry, country, founded, budget in BRANDS:
            if workspace == "globex" and brand_id in ("havsalt", "glimmerant"):
                continue
            when = START - dt.timedelta(days=rng.randint(5, 60))
            row = [workspace, brand_id, name, industry, country, founded, budget, "true", iso(when)]
            first.append(row)
            if rng.random() < 0.5:
                second.append(row[:6] + [f"{rng.randint(1_000, 90_000)}.{rng.randint(0, 99):02}", rng.choice(["true", "false"]), iso(when + dt.timedelta(days=rng.choice([-3, 0, 20])))])
            elif rng.random() < 0.4:
                second.append(row)
    return first, second


def brand_file(rows: list[list[str]], bad: list[list[str]], rng: random.Random, end: str) -> str:
    """One CSV export with its bad rows mixed in and one blank line, which is no record."""
    rows = rows + bad
    rng.shuffle(rows)
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(BRAND_COLUMNS)
    writer.writerows(rows[: len(rows) // 2])
    out.write(end)
    writer.writerows(rows[len(rows) // 2 :])
    return out.getvalue()


def brands() -> list[str]:
    """The text of both exports: the first ends its lines with LF, the second with CRLF and has no line end after the last row."""
    rng = random.Random(SEED + 1)
    first, second = brand_rows(rng)
    good = ["acme", "kodrun", "Kodrun Motors", "Automotive", "DE", "1954-10-08", "1.00", "true", "2025-09-20T00:00:00Z"]

    def with_fault(**fault: str) -> list[str]:
        return [fault.get(column, value) for column, value in zip(BRAND_COLUMNS, good)]

    bad_first = [good[:4], good + ["surplus"], with_fault(workspace_id=""), with_fault(founded="1998-02-31"), with_fault(monthly_budget="lots"), with_fault(brand_id="")]
    bad_second = [good[:8], good + ["a", "b,c"], with_fault(workspace_id="__all"), with_fault(workspace_id=" acme"), with_fault(active="perhaps"), with_fault(updated_at="2025-02-30T00:00:00Z"),
                  with_fault(name=""), with_fault(monthly_budget="-10.00"), ["", "", "surplus only"]]
    return [brand_file(first, bad_first, rng, "\n"), brand_file(second, bad_second, rng, "\r\n").removesuffix("\r\n")]


def contents() -> dict[str, bytes]:
    """Path below the folder -> bytes before compression."""
    parts = {f"posts/part-{n}.ndjson{'.gz' if n == 3 else ''}": text.encode() for n, text in enumerate(posts(), 1)}
    return parts | {f"brands/part-{n}.csv": text.encode() for n, text in enumerate(brands(), 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "data/quickstart")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    stale = []
    for name, data in contents().items():
        path = args.out / name
        if args.check:
            found = path.read_bytes() if path.exists() else b""
            if (gzip.decompress(found) if name.endswith(".gz") and found else found) != data:
                stale.append(name)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, 9, mtime=0) if name.endswith(".gz") else data)
    for name in stale:
        print(f"{name} is not what generate_quickstart.py makes", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
