-- trick: SQL inside of SQL
-- expect: refused
SELECT * FROM query('SELECT * FROM globex.silver.posts')
