"""CLI/timing shell shared by the Python peers. Contract: see WORKLOAD.md."""

import argparse, datetime as dt, glob, json, os, sys, time

RAW_COLS = [
    "op",
    "order_id",
    "line_no",
    "workspace_id",
    "customer_id",
    "segment",
    "part_id",
    "quantity",
    "price",
    "discount",
    "tax",
    "ship_mode",
    "status",
    "order_date",
    "ship_date",
    "comment",
    "updated_at",
]
BIZ_COLS = [c for c in RAW_COLS if c != "op"]
KEY = ["workspace_id", "order_id", "line_no"]

# The columns that are not text, and what they are in SQL.
TYPES = {
    "order_id": "bigint",
    "line_no": "int",
    "customer_id": "bigint",
    "part_id": "bigint",
    "quantity": "int",
    "price": "decimal(12,2)",
    "discount": "decimal(4,2)",
    "tax": "decimal(4,2)",
    "order_date": "date",
    "ship_date": "date",
    "updated_at": "timestamptz",
}

# The first rule that a row breaks, in DuckDB's SQL, where the typed values are called t_<column>.
REASON = """case
             when t_order_id is null or t_line_no is null then 'null_key'
             when workspace_id is null then 'null_workspace'
             when t_updated_at is null then 'bad_updated_at'
             when op = 'delete' then null
             when op is distinct from 'upsert' then 'bad_op'
             when t_price is null then 'bad_price'
             when t_price < 0 then 'negative_price'
             when t_quantity is null or t_quantity <= 0 then 'bad_quantity'
             when t_discount is null or t_tax is null or t_discount not between 0 and 1 or t_tax not between 0 and 1 then 'bad_discount'
             when t_order_date is null or t_ship_date is null then 'bad_date' end"""
TYPED = ", ".join(f"try_cast({name} as {kind}) t_{name}" for name, kind in TYPES.items())


def cpu():
    """CPU seconds of this process (all threads) and of its live descendants (the JVM of pyspark)"""
    t = time.process_time()
    if "pyspark" in sys.modules:
        import psutil

        for c in psutil.Process().children(recursive=True):
            try:
                x = c.cpu_times()
                t += x.user + x.system
            except psutil.Error:
                pass
    return t


class Run:
    def __init__(self):
        ap = argparse.ArgumentParser()
        ap.add_argument("--phase", required=True, choices=["noop", "load", "incr", "query"])
        ap.add_argument("--raw", required=True)
        ap.add_argument("--out", required=True)
        ap.add_argument("--steps", required=True)
        a = ap.parse_args()
        self.phase, self.raw, self.out, self.steps_path = a.phase, a.raw, a.out, a.steps
        self.steps, self.answers = {}, {}
        self.bronze = f"{a.out}/bronze/order_events"
        self.silver = f"{a.out}/silver/order_lines"
        self.quarantine = f"{a.out}/silver/order_lines_quarantine"
        self.gold_daily = f"{a.out}/gold/daily_revenue"
        self.gold_top = f"{a.out}/gold/top_customers"
        self.now = dt.datetime.now(dt.timezone.utc)  # the one _ingested_at of this run

    def files(self, sub):
        d = f"{self.raw}/{sub}"
        return sorted(glob.glob(f"{d}/*.csv")), sorted(glob.glob(f"{d}/*.ndjson"))

    def queries(self):
        return json.load(open(f"{self.raw}/queries.json"))

    def step(self, name, fn, *args):
        t, c = time.perf_counter(), cpu()
        r = fn(*args)
        self.steps[name] = round(time.perf_counter() - t, 4)
        self.steps["cpu_" + name] = round(cpu() - c, 3)  # optional
        return r

    def done(self):
        with open(self.steps_path, "w") as f:
            json.dump({"steps": self.steps, "answers": self.answers}, f)


def main(peer):
    """peer: object with open(run), noop(), ingest(sub), silver(), gold(), point(ws, date), scan(), close()"""
    run = Run()
    run.step("start", peer.open, run)
    if run.phase == "noop":
        run.step("noop", peer.noop)
    elif run.phase in ("load", "incr"):
        sub = "base" if run.phase == "load" else "change"
        run.step("ingest", peer.ingest, sub)
        run.step("silver", peer.silver)
        if hasattr(peer, "gold"):
            run.step("gold", peer.gold)
    else:
        lat, ans = [], []
        for q in run.queries():
            t = time.perf_counter()
            n, rev = peer.point(q["workspace_id"], q["order_date"])
            lat.append(time.perf_counter() - t)
            ans.append([int(n), str(rev)])
        run.steps["point_first"] = round(lat[0], 4)
        run.steps["point_median"] = round(sorted(lat)[len(lat) // 2], 4)
        run.answers["point"] = ans
        sc = []
        for _ in range(3):
            t = time.perf_counter()
            r = peer.scan()
            sc.append(time.perf_counter() - t)
        run.steps["scan_first"] = round(sc[0], 4)
        run.steps["scan_best"] = round(min(sc), 4)
        run.answers["scan"] = [[str(x) for x in row] for row in r]
    peer.close()
    run.done()
