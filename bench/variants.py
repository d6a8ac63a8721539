"""Further data sets, made from one that `gen.py` wrote and laid out as it does, the same bytes each time.

* `changed`: a change batch of a share of the keys, either any of them or those of the latest orders. Nine in ten are updated, one
  in ten is deleted. The base is that of the original.
* `spread`: the same rows over another number of workspaces.

Expectations come from the raw files, as DuckDB reads them by the workload's rules. That these say of the original what the
generator said of it, which knows the events before they were text, is checked each time.
"""

import glob
import json
import os
import shutil

import duckdb

from expect import RAW_COLS, silver_digest
from gen import TextDigest, add_bronze_text, described, expect_of_silver, write_rows
from bench import DataSet

SHAPES = ("random", "recent")

NUMBERS = ("order_id", "line_no", "customer_id", "part_id", "quantity")
"""What NDJSON holds as numbers."""

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
    "updated_at": "timestamp",
}

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


def connect(folder):
    con = duckdb.connect()
    con.execute(f"set threads=2; set timezone='UTC'; set memory_limit='10GB'; set enable_progress_bar=false; set temp_directory='{folder}/tmp'")
    return con


def raw_rows(files):
    """A query of the rows of raw files as text."""
    types = "{" + ", ".join(f"{c}: 'VARCHAR'" for c in RAW_COLS) + "}"
    names, parts = ", ".join(RAW_COLS), []
    tables = [f for f in files if f.endswith(".csv")]
    records = [f for f in files if f.endswith(".ndjson")]
    if tables:
        reader = f"read_csv({tables!r}, header=true, delim=',', quote='\"', escape='\"', columns={types}, auto_detect=false)"
        parts.append(f"select {names} from {reader}")
    if records:
        parts.append(f"select {names} from read_json({records!r}, format='newline_delimited', columns={types})")
    return " union all ".join(parts)


def raw_files(data, part):
    return sorted(glob.glob(f"{data.raw}/{part}/*"))


def judge(con, files):
    """Table `silver` as `files` make it; how many rows there are of each workspace, and of each reason in quarantine."""
    typed = ", ".join(f"try_cast({c} as {kind}) t_{c}" for c, kind in TYPES.items())
    con.execute(f"""create or replace table judged as
        select *, {REASON} as reason from (select *, {typed} from ({raw_rows(files)}))""")
    columns = ", ".join(f"t_{c} as {c}" if c in TYPES else c for c in RAW_COLS)
    con.execute(f"""create or replace table silver as select * exclude (op) from (
        select {columns} from judged where reason is null
        qualify row_number() over (partition by workspace_id, t_order_id, t_line_no order by t_updated_at desc) = 1)
        where op <> 'delete'""")
    workspaces = con.execute("select workspace_id, count(*) from judged group by 1 order by 1 nulls last").fetchall()
    reasons = con.execute("select reason, count(*) from judged where reason is not null group by 1 order by 1").fetchall()
    con.execute("drop table judged")
    return {
        "bronze_rows": sum(rows for _, rows in workspaces),
        "bronze_by_workspace": {str(name): rows for name, rows in workspaces},
        "quarantine": dict(reasons),
    }


def check_against_generator(con, base):
    """Makes table `silver` that of the base's load, which must be what the generator expects."""
    expected, found = base.expected()["load"], judge(con, raw_files(base, "base"))
    found["silver"] = silver_digest(con, "silver")
    for name, value in found.items():
        assert value == expected[name], f"{name} of {base.name}: {value}, expected {expected[name]}"


def is_ready(data):
    return os.path.exists(f"{data.folder}/expected/expected.json")


def start(data):
    shutil.rmtree(data.folder, ignore_errors=True)
    for folder in ("raw/change", "expected"):
        os.makedirs(f"{data.folder}/{folder}")


def finish(data, expected):
    shutil.rmtree(f"{data.folder}/tmp", ignore_errors=True)
    with open(f"{data.folder}/expected/expected.json", "w") as file:
        json.dump(expected, file, indent=1)


def changed(base, percents, shapes=SHAPES):
    """A data set for each share of keys and each shape, with the two."""
    found = []
    for percent in percents:
        for shape in shapes:
            name = f"{base.name}-change-{percent}-{shape}"
            found.append((DataSet(name, f"{os.path.dirname(base.folder)}/{name}"), percent, shape))
    missing = [entry for entry in found if not is_ready(entry[0])]
    if missing:
        con = connect(base.folder)
        check_against_generator(con, base)
        con.execute("alter table silver rename to loaded")
        for data, percent, shape in missing:
            print(f"making {data.name}", flush=True)
            make_change(con, base, data, float(percent), shape)
        con.close()
        shutil.rmtree(f"{base.folder}/tmp", ignore_errors=True)
    return found


def make_change(con, base, data, percent, shape):
    start(data)
    os.symlink(f"../../{base.name}/raw/base", f"{data.folder}/raw/base")
    order = {
        "random": "md5(workspace_id || '/' || order_id || '/' || line_no)",
        "recent": "order_date desc, order_id desc, line_no desc",
    }
    rows = con.execute("select count(*) from loaded").fetchone()[0]
    count = max(1, round(rows * percent / 100))
    # The number of a row tells its file, and whether it is deleted.
    con.execute(f"""create or replace table picked as
        select *, row_number() over (order by md5(order_id || '-' || line_no), workspace_id) n
        from (select * from loaded order by {order[shape]}, workspace_id limit {count})""")
    con.execute("""create or replace table changes as
        select case when n % 10 = 0 then 'delete' else 'upsert' end op, * replace (
            1 + (quantity + 5) % 50 as quantity, (price + 1.25)::decimal(12,2) as price, 'C' as status,
            timestamp '2024-06-01' + to_milliseconds(n * 7) as updated_at)
        from picked""")
    con.execute("""create or replace view silver as
        select * exclude (n) from (select *, 0 n from loaded) anti join picked using (workspace_id, order_id, line_no)
        union all by name select * exclude (op, n) from changes where op = 'upsert'""")
    stamp = "strftime(updated_at, '%Y-%m-%dT%H:%M:%S.%gZ') as updated_at"
    kept = ("op", "order_id", "line_no", "workspace_id")
    as_text = lambda c: c if c in NUMBERS else f"{c}::varchar"
    of_upsert = lambda c: c if c in kept else f"case when op = 'upsert' then {as_text(c)} end as {c}"
    columns = ", ".join(stamp if c == "updated_at" else of_upsert(c) for c in RAW_COLS)
    for name, parity in (("chg_000.csv", 0), ("chg_001.ndjson", 1)):
        # Tens are even; half of the deletes come by either file.
        write_rows(con, f"select {columns} from changes where (n // 10 + n) % 2 = {parity} order by n", f"{data.folder}/raw/change/{name}")
    finish(data, expect_of_change(con, base, data))


def expect_of_change(con, base, data):
    expected = base.expected()
    files = [f for f in expected["files"] if "/base/" in f["file"]]
    files += [described(path, data.folder) for path in raw_files(data, "change")]
    load = expected["load"]
    for name in ("daily_revenue", "top_customers"):
        shutil.copy(f"{base.folder}/expected/load_{name}.parquet", f"{data.folder}/expected/")
    final = {"bronze_rows": load["bronze_rows"], "bronze_by_workspace": dict(load["bronze_by_workspace"])}
    for name, rows in con.execute("select workspace_id, count(*) from changes group by 1").fetchall():
        final["bronze_by_workspace"][name] += rows
        final["bronze_rows"] += rows
    final |= {"quarantine": load["quarantine"], **expect_of_silver(con, data.folder, "final")}
    rows, text = TextDigest().files(f"{data.raw}/change/*")
    assert load["bronze_rows"] + rows == final["bronze_rows"]
    final["bronze_text"] = str(int(load["bronze_text"]) + text)
    return {"size": data.name, "files": files, "raw_bytes": sum(f["bytes"] for f in files), "load": load, "final": final}


def spread(base, workspaces):
    """The rows of `base` in so many workspaces; the key of a row tells its workspace, so that its changes follow it."""
    name = f"{base.name}-{workspaces}-workspaces"
    data = DataSet(name, f"{os.path.dirname(base.folder)}/{name}")
    if is_ready(data):
        return data
    print(f"making {name}", flush=True)
    start(data)
    os.makedirs(f"{data.raw}/base")
    con = connect(data.folder)
    check_against_generator(con, base)
    number = f"md5_number_lower(coalesce(order_id, '')) % {int(workspaces)}"
    moved = f"case when workspace_id is not null then format('w-{{:05d}}', {number}) end as workspace_id"
    for part in ("base", "change"):
        for path in raw_files(base, part):
            as_number = path.endswith(".ndjson")
            typed = lambda c: f"{c}::bigint as {c}" if as_number and c in NUMBERS else c
            columns = ", ".join(moved if c == "workspace_id" else typed(c) for c in RAW_COLS)
            write_rows(con, f"select {columns} from ({raw_rows([path])})", f"{data.raw}/{part}/{os.path.basename(path)}")
    files = [described(path, data.folder) for part in ("base", "change") for path in raw_files(data, part)]
    expected = {"size": name, "files": files, "raw_bytes": sum(f["bytes"] for f in files)}
    for state, parts in (("load", ["base"]), ("final", ["base", "change"])):
        expected[state] = judge(con, [f for part in parts for f in raw_files(data, part)])
        expected[state] |= expect_of_silver(con, data.folder, state)
    add_bronze_text(expected, data.folder)
    con.close()
    finish(data, expected)
    return data
