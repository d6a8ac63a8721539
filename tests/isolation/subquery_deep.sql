-- trick: the table ten subqueries down
-- expect: own rows only
SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM silver.posts) t) t) t) t) t) t) t) t) t) t
