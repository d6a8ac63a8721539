#!/usr/bin/env python3
"""The oracle against cases small enough to be worked out by hand: one post or file per rule, the outcome written beside it."""
import json
import pathlib
import tempfile
import unittest

import duckdb

import oracle
from specs import SPECS

GOOD = {
    "id": "p1", "workspace_id": "acme", "op": "U", "user": {"name": "lina", "followers": 3}, "brand": "kodrun", "platform": "chirp", "text": "hello", "lang": "en", "likes": 1,
    "sentiment": 0.5, "url": None, "created": "2025-01-01T10:00:00+02:00", "updated": "2025-01-01T10:00:00.000Z",
}
DELETE = {"id": "p1", "workspace_id": "acme", "op": "D", "updated": "2025-01-01T10:00:00.000Z"}


def at(second: int, **changes: object) -> dict:
    """The good post, `second` seconds after ten."""
    return GOOD | {"updated": f"2025-01-01T10:00:{second:02}.000Z"} | changes


class OracleTest(unittest.TestCase):
    def build(self, lines: list[dict | str]) -> duckdb.DuckDBPyConnection:
        """The database for a feed of these lines."""
        with tempfile.TemporaryDirectory() as folder:
            text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
            (pathlib.Path(folder) / "a.ndjson").write_text(text, encoding="utf-8")
            return oracle.build(SPECS["growing"], pathlib.Path(folder))

    def fate(self, *lines: dict | str) -> str:
        """The fate of the last line."""
        found = self.build(list(lines)).execute("SELECT _fate FROM judged_posts ORDER BY _record DESC LIMIT 1").fetchone()
        return found[0] if found else "unassigned"

    def test_a_good_row_is_written_with_its_types(self) -> None:
        row = self.build([GOOD]).execute("SELECT post_id, author, likes, sentiment, url, posted_at::VARCHAR FROM silver_posts").fetchone()
        self.assertEqual(row, ("p1", "lina", 1, 0.5, None, "2025-01-01 08:00:00+00"))

    def test_rows_that_do_not_fit_are_quarantined(self) -> None:
        for fault in [{"id": None}, {"likes": "many"}, {"likes": 1.5}, {"created": "2025-02-31T10:00:00Z"}, {"created": None}, {"text": ""}, {"text": None}, {"user": None}, {"user": "lina"}, {"likes": -1}]:
            self.assertEqual(self.fate(GOOD | fault), "quarantined", fault)

    def test_quarantine_comes_before_drop(self) -> None:
        old = GOOD | {"created": "2001-01-01T00:00:00Z"}
        self.assertEqual(self.fate(old), "dropped")
        self.assertEqual(self.fate(old | {"text": ""}), "quarantined")

    def test_where_comes_before_casts_and_after_broken_records(self) -> None:
        self.assertEqual(self.fate(GOOD | {"op": "H", "likes": "many"}), "dropped")
        self.assertEqual(self.fate(GOOD | {"op": None}), "dropped")
        self.assertEqual(self.fate(GOOD | {"op": "H", "user": "lina"}), "quarantined")

    def test_a_delete_needs_its_key_and_time_only(self) -> None:
        self.assertEqual(self.fate(DELETE | {"likes": "many", "text": ""}), "deleted")
        self.assertEqual(self.fate(DELETE | {"id": None}), "quarantined")
        self.assertEqual(self.fate(DELETE | {"updated": "soon"}), "quarantined")

    def test_rows_of_nobody_reach_no_table_of_a_workspace(self) -> None:
        for name in [None, "", " acme", "acme ", "a\u0007", "__all", ".", "..", "x" * 201]:
            self.assertEqual(self.fate(GOOD | {"workspace_id": name}), "unassigned", name)
        for line in ["{}", "[]", "null", '{"id":', "NaN"]:
            self.assertEqual(self.fate(line), "unassigned", line)
        self.assertEqual(self.fate(GOOD | {"workspace_id": "x" * 200}), "written")

    def test_blank_lines_are_no_rows(self) -> None:
        self.assertEqual(self.build([GOOD, "", ""]).execute("SELECT count(*) FROM raw_posts").fetchone(), (1,))

    def winner(self, *rows: dict) -> list[tuple]:
        """Likes and body of what stays, in both orders of delivery."""
        found = [self.build(list(lines)).execute("SELECT likes, body FROM silver_posts").fetchall() for lines in (rows, rows[::-1])]
        self.assertEqual(found[0], found[1])
        return found[0]

    def test_the_latest_wins_in_any_order(self) -> None:
        self.assertEqual(self.winner(at(1, likes=1), at(3, likes=3), at(2, likes=2)), [(3, "hello")])

    def test_an_invalid_newer_row_leaves_the_older_one(self) -> None:
        self.assertEqual(self.winner(at(1, likes=1), at(2, likes="many")), [(1, "hello")])

    def test_ties_are_settled_by_columns_from_left_to_right(self) -> None:
        self.assertEqual(self.winner(at(1, likes=9), at(1, likes=10)), [(10, "hello")])
        self.assertEqual(self.winner(at(1, likes=1, text="b"), at(1, likes=2, text="a")), [(1, "b")])
        self.assertEqual(self.winner(at(1, text="Z"), at(1, text="a")), [(1, "a")])
        self.assertEqual(self.winner(at(1, likes=None), at(1, likes=0)), [(0, "hello")])

    def test_a_delete_beats_what_is_older_or_as_old(self) -> None:
        delete = DELETE | {"updated": "2025-01-01T10:00:05.000Z"}
        self.assertEqual(self.winner(at(4), delete), [])
        self.assertEqual(self.winner(at(5), delete), [])
        self.assertEqual(self.winner(at(6), delete), [(1, "hello")])

    def test_workspaces_do_not_share_keys(self) -> None:
        other = at(9, workspace_id="globex", likes=7)
        self.assertEqual(sorted(self.build([at(1), other]).execute("SELECT workspace_id, likes FROM silver_posts").fetchall()), [("acme", 1), ("globex", 7)])

    def test_counts_add_up(self) -> None:
        rows = [at(1), at(1), at(2, likes="many"), GOOD | {"op": "H"}, DELETE | {"id": "p2"}, "{}"]
        counts = oracle.counts(self.build(rows), SPECS["growing"])
        self.assertEqual(counts["bronze.posts"], {"read": 6, "written": 5, "dropped": 0, "quarantined": 1, "superseded": 0, "deleted": 0})
        self.assertEqual(counts["silver.posts"], {"read": 5, "written": 1, "dropped": 1, "quarantined": 1, "superseded": 1, "deleted": 1})


if __name__ == "__main__":
    unittest.main()
