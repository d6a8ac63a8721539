-- trick: an earlier version in the name
-- expect: refused
SELECT * FROM silver."posts@v0"
