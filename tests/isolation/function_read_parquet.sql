-- trick: a table function that reads files
-- expect: refused
SELECT * FROM read_parquet('{LAKE}/silver/posts/workspace_id=globex/*.parquet')
