-- trick: a copy inside of a plan that is run
-- expect: refused
EXPLAIN ANALYZE COPY (SELECT * FROM silver.posts) TO '{LAKE}/stolen.parquet'
