-- trick: a table function whose path comes from the row
-- expect: refused
SELECT f.* FROM silver.posts p CROSS JOIN LATERAL read_parquet('{LAKE}/silver/posts/workspace_id=' || p.author) f
