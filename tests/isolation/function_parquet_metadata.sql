-- trick: a table function that reads files
-- expect: refused
SELECT * FROM parquet_metadata('{LAKE}/silver/posts/workspace_id=globex/part-0.parquet')
