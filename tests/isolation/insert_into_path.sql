-- trick: writes to a path
-- expect: refused
INSERT INTO '{LAKE}/silver/posts/workspace_id=globex/forged.parquet' SELECT * FROM silver.posts
