"""the verifier must notice each of these mutations (run on a kept, correct S output)"""

import shutil, sys, os
from deltalake import DeltaTable, write_deltalake

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from verify import verify

src, tmp, data = sys.argv[1], sys.argv[1].rstrip("/") + "_m", f"{HERE}/data/S"
assert verify(data, src, "final") == []
k = DeltaTable(f"{src}/silver/order_lines").to_pyarrow_table(columns=["order_id", "line_no"]).slice(5, 1).to_pylist()[0]
key = f"order_id = {k['order_id']} and line_no = {k['line_no']}"


def upd(t, **kw):
    return lambda o: DeltaTable(f"{o}/{t}").update(predicate=kw.pop("where"), updates=kw)


def dele(t, p):
    return lambda o: DeltaTable(f"{o}/{t}").delete(p)


muts = {
    "silver row missing": dele("silver/order_lines", key),
    "silver price 1 cent": upd("silver/order_lines", where=key, price="cast(price + 0.01 as decimal(12,2))"),
    "silver comment": upd("silver/order_lines", where=key, comment="'x'"),
    "silver updated_at": upd("silver/order_lines", where=key, updated_at="updated_at + interval '1 millisecond'"),
    "bronze row missing": dele("bronze/order_events", f"order_id = '{k['order_id']}' and line_no = '{k['line_no']}'"),
    "quarantine row missing": dele("silver/order_lines_quarantine", "_reason='null_workspace'"),
    "gold revenue": upd(
        "gold/daily_revenue",
        where="workspace_id='ws-08' and order_date=(date '1995-01-01') or revenue > 400000",
        revenue="cast(revenue + 0.0001 as decimal(18,4))",
    ),
    "gold rank": upd("gold/top_customers", where="rank=100", rank="cast(101 as int)"),
}
bad = 0
for n, f in muts.items():
    shutil.rmtree(tmp, ignore_errors=True)
    shutil.copytree(src, tmp)
    f(tmp)
    r = verify(data, tmp, "final")
    print(("caught " if r else "MISSED ") + n, "|", (r or [""])[0][:110])
    bad += not r
shutil.rmtree(tmp)
sys.exit(bad)
