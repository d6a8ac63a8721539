-- trick: a table name as an argument
-- expect: refused
SELECT * FROM TABLE('silver.posts')
