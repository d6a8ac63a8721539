-- trick: describes a file
-- expect: refused
DESCRIBE '{LAKE}/silver/posts/workspace_id=globex/part-0.parquet'
