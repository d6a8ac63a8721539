"""Whether the verifier notices mistakes in tables that were right: each mutation must be caught.

test_verify.py OUT [DATA/S]      OUT: what `bench.py --keep` left after all phases of any contender
"""

import shutil
import sys

from deltalake import DeltaTable

from place import DATA
from verify import verify

OUT = sys.argv[1].rstrip("/")
MUTATED = OUT + "_mutated"
EXPECTED = sys.argv[2] if len(sys.argv) > 2 else f"{DATA}/S"


def update(table, where, **columns):
    return lambda out: DeltaTable(f"{out}/{table}").update(predicate=where, updates=columns)


def delete(table, where):
    return lambda out: DeltaTable(f"{out}/{table}").delete(where)


def mutations(of_lake):
    line = DeltaTable(f"{OUT}/silver/order_lines").to_pyarrow_table(columns=["order_id", "line_no"]).slice(5, 1).to_pylist()[0]
    key = f"order_id = {line['order_id']} and line_no = {line['line_no']}"
    text = f"order_id = '{line['order_id']}' and line_no = '{line['line_no']}'"
    later = "updated_at + interval '1 millisecond'"
    some = "workspace_id = 'ws-08' and order_date = (date '1995-01-01') or revenue > 400000"
    found = {
        "silver row missing": delete("silver/order_lines", key),
        "silver price 1 cent": update("silver/order_lines", key, price="cast(price + 0.01 as decimal(12,2))"),
        "silver comment": update("silver/order_lines", key, comment="'x'"),
        "silver updated_at": update("silver/order_lines", key, updated_at=later),
        "bronze row missing": delete("bronze/order_events", text),
        "bronze text": update("bronze/order_events", text, comment="comment || ' '"),
        "gold revenue": update("gold/daily_revenue", some, revenue="cast(revenue + 0.0001 as decimal(18,4))"),
        "gold rank": update("gold/top_customers", "rank = 100", rank="cast(101 as int)"),
        "gold row missing": delete("gold/top_customers", "rank = 100 and workspace_id = 'ws-08'"),
    }
    if of_lake:
        reason = "'`bad_date` does not hold'"
        nobodys = "bronze/order_events_quarantine"
        found |= {
            "quarantine row missing": delete("silver/order_lines_quarantine", "_reason = '`bad_quantity` does not hold'"),
            "quarantine reason": update("silver/order_lines_quarantine", "_reason like '%negative_price%'", _reason=reason),
            "row without a workspace missing": delete(nobodys, "line_no = '1'"),
            "text of a row without a workspace": update(nobodys, "line_no = '1'", comment="'x'"),
        }
    else:
        found["quarantine row missing"] = delete("silver/order_lines_quarantine", "_reason = 'null_workspace'")
    return found


def main():
    assert verify(EXPECTED, OUT, "final") == [], "the tables are not right as they are"
    columns = [f.name for f in DeltaTable(f"{OUT}/bronze/order_events").schema().fields]
    missed = 0
    for name, mutate in mutations("_source" in columns).items():
        shutil.rmtree(MUTATED, ignore_errors=True)
        shutil.copytree(OUT, MUTATED)
        mutate(MUTATED)
        found = verify(EXPECTED, MUTATED, "final")
        missed += not found
        print("caught" if found else "MISSED", name, "|", (found or [""])[0][:110])
    shutil.rmtree(MUTATED)
    sys.exit(missed)


if __name__ == "__main__":
    main()
