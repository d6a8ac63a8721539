#!/usr/bin/env python3
"""bronze_digest.py --size S : adds to expected.json a checksum of the raw text of every bronze row, computed with Python's csv and json
modules only (independent of all peers). verify.py checks it when present."""

import argparse, csv, glob, hashlib, json, os, sys
import duckdb

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, f"{HERE}/peers")
from common import RAW_COLS

ap = argparse.ArgumentParser()
ap.add_argument("--size", required=True)
a = ap.parse_args()
x = duckdb.connect().execute("select md5_number('a')").fetchone()[0]
h = hashlib.md5(b"a").digest()
ORD = next(o for o in ("big", "little") if int.from_bytes(h, o) == int(x))
M = 10**18


def dig(vals):
    return int.from_bytes(hashlib.md5("|".join(vals).encode()).digest(), ORD) % M


def one(f):
    n = s = 0
    with open(f, newline="", encoding="utf-8") as h:
        if f.endswith(".csv"):
            r = csv.reader(h)
            assert next(r) == RAW_COLS
            for row in r:
                n += 1
                s += dig([v if v != "" else "~" for v in row])
        else:
            for line in h:
                o = json.loads(line)
                n += 1
                s += dig(["~" if o[c] is None else str(o[c]) for c in RAW_COLS])
    return n, s


d = f"{HERE}/data/{a.size}"
p = f"{d}/expected/expected.json"
e = json.load(open(p))
b = [one(f) for f in sorted(glob.glob(f"{d}/raw/base/*"))]
c = [one(f) for f in sorted(glob.glob(f"{d}/raw/change/*"))]
assert sum(n for n, _ in b) == e["load"]["bronze_rows"] and sum(n for n, _ in b + c) == e["final"]["bronze_rows"]
e["load"]["bronze_text"] = str(sum(s for _, s in b))
e["final"]["bronze_text"] = str(sum(s for _, s in b + c))
json.dump(e, open(p + ".tmp", "w"), indent=1)
os.replace(p + ".tmp", p)
print(e["load"]["bronze_text"], e["final"]["bronze_text"])
