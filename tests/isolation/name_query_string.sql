-- trick: a query string in a table name
-- expect: refused
SELECT * FROM silver."posts?workspace_id=globex"
