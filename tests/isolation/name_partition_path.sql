-- trick: a partition directory as a table name
-- expect: refused
SELECT * FROM silver."posts/workspace_id=globex"
