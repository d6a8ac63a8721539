-- trick: copies rows out to a file
-- expect: refused
COPY (SELECT * FROM silver.posts) TO '{LAKE}/stolen.parquet' STORED AS PARQUET
