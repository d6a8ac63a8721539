-- trick: an escaped slash in a table name
-- expect: refused
SELECT * FROM silver."posts%2Fworkspace_id=globex"
