-- trick: an object store URL
-- expect: refused
SELECT * FROM 's3://lake/silver/posts/workspace_id=globex/part-0.parquet'
