-- trick: a file path as a table name
-- expect: refused
SELECT * FROM '{LAKE}/silver/posts/workspace_id=globex/*.parquet'
