#!/usr/bin/env python3
"""Writes one more file of a growing feed of posts: `posts-<step>.ndjson`, about 300 rows. Standard library only.

    grow_feed.py --out DIR --step N

A step is the same bytes whenever and in whatever order it is made, because what earlier steps held is made again from their numbers. The
file appears whole or not at all. What the rows must become is what `oracle.py --pipeline growing --data DIR` says of all files together.
"""
import argparse
import datetime as dt
import os
import pathlib
import random

from feed import PLATFORMS, UTC, deletion, iso, iso_millis, line, newer, post

START = dt.datetime(2025, 1, 6, tzinfo=UTC)
# The last name is there for what storage paths make of it.
WORKSPACES = ["acme", "globex", "Åse & Söner: 50%/år = a+b"]
NEW = 160
DAYS = 40


def posts_of(step: int) -> list[dict]:
    """The posts that a step brings for the first time; ids are counted per workspace, so workspaces share them."""
    rng = random.Random(f"posts {step}")
    start = START + dt.timedelta(hours=12 * (step % (2 * DAYS)))
    return [
        post(rng, rng.choices(WORKSPACES, [5, 3, 1])[0], f"p{step * NEW // 2 + number // 2:07}", start + dt.timedelta(seconds=rng.randrange(43_200)))
        for number in range(NEW)
    ]


def known(rng: random.Random, step: int) -> dict:
    """A post of this step or an earlier one, most often a recent one."""
    back = min(step, int(rng.expovariate(0.5)) if rng.random() < 0.8 else rng.randint(0, step))
    return rng.choice(posts_of(step - back))


def changes(rng: random.Random, step: int) -> list[dict]:
    """Newer and older states, redeliveries, ties, deletes and their undoing."""
    found = [newer(rng, known(rng, step), dt.timedelta(minutes=rng.randint(-600, 6_000))) for _ in range(70)]
    found += [deletion(known(rng, step), dt.timedelta(minutes=rng.randint(-300, 5_000))) for _ in range(14)]
    found += [known(rng, step) for _ in range(10)]
    for _ in range(8):
        event = known(rng, step)
        # Whole hours, so that later steps meet the same instant again; the columns differ in opposite directions.
        tie = newer(rng, event, dt.timedelta(hours=rng.choice([24, 48])))
        found += [dict(tie, brand="tarnwick-tea", likes=9), dict(tie, brand="tarnwick-tea", likes=10, url=None), dict(tie, brand="corvane", likes=11)]
    for _ in range(4):
        event = known(rng, step)
        instant = dt.timedelta(hours=72)
        found += [deletion(event, instant), newer(rng, event, instant)]
    found += [deletion(dict(known(rng, step), id=f"p99{rng.randrange(10_000):05}"), dt.timedelta(0)) for _ in range(2)]
    return found


def faulty(rng: random.Random, step: int) -> list[dict]:
    """Rows that must be quarantined, dropped, or belong to nobody."""
    faults = [
        {"id": None}, {"likes": "many"}, {"likes": -1}, {"created": "2025-02-31T10:00:00Z"}, {"text": ""}, {"user": None}, {"sentiment": "glad"}, {"updated": "yesterday"},
        {"created": iso(dt.datetime(2001, 1, 1, tzinfo=UTC))}, {"workspace_id": None}, {"workspace_id": " acme"}, {"workspace_id": "__unassigned__"}, {"platform": rng.choice(PLATFORMS + ["gramophone"])},
    ]
    found = [dict(newer(rng, known(rng, step), dt.timedelta(minutes=rng.randint(0, 9_000))), **fault) for fault in faults]
    found += [dict(deletion(known(rng, step), dt.timedelta(hours=1)), updated="2025-13-01T00:00:00.000Z")]
    return found + [{"workspace_id": rng.choice(WORKSPACES), "op": "H", "updated": iso_millis(START)}]


def file(step: int) -> str:
    """The text of a step's file."""
    rng = random.Random(f"changes {step}")
    lines = [line(rng, event) for event in posts_of(step) + changes(rng, step) + faulty(rng, step)]
    lines += [lines[0][: len(lines[0]) // 2], "[]", "{}", ""]
    rng.shuffle(lines)
    return "".join(text + "\n" for text in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--step", required=True, type=int)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    # The name while it is written matches no pattern of a pipeline.
    part = args.out / f".posts-{args.step:05}.part"
    part.write_text(file(args.step), encoding="utf-8", newline="\n")
    os.replace(part, args.out / f"posts-{args.step:05}.ndjson")


if __name__ == "__main__":
    main()
