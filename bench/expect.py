"""What the results are, in one place: shared by what makes expectations and what verifies them, never by a contender."""

RAW_COLS = """op order_id line_no workspace_id customer_id segment part_id quantity price discount tax ship_mode status order_date ship_date
    comment updated_at""".split()

SILVER_COLS = """workspace_id order_id line_no customer_id segment part_id quantity price discount tax ship_mode status order_date ship_date
    comment updated_at""".split()

GOLD_DAILY = """
select workspace_id, order_date, ship_mode, count(*)::bigint lines, sum(quantity)::bigint quantity,
       sum(price*(1-discount))::decimal(18,4) revenue
from {silver} group by 1,2,3"""

GOLD_TOP = """
select workspace_id, rank, customer_id, orders, revenue from (
  select *, row_number() over (partition by workspace_id order by revenue desc, customer_id)::int rank from (
    select workspace_id, customer_id, count(distinct order_id)::bigint orders, sum(price*(1-discount))::decimal(18,4) revenue
    from {silver} group by 1,2)) where rank <= 100"""


def silver_digest(con, relation):
    """Count, sums, and a checksum over every business column of every row that does not depend on their order."""
    text = ", ".join(f"coalesce(({'epoch_us(updated_at)' if c == 'updated_at' else c})::varchar, '~')" for c in SILVER_COLS)
    rows, quantity, price, revenue, checksum = con.execute(f"""
        select count(*), sum(quantity)::bigint, sum(price)::varchar, sum(price*(1-discount))::decimal(18,4)::varchar,
               sum((md5_number(concat_ws('|', {text})) % 1000000000000000000)::hugeint)::varchar
        from {relation}""").fetchone()
    return {"rows": rows, "quantity": quantity, "price": price, "revenue": revenue, "checksum": checksum}
