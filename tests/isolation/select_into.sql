-- trick: a query that makes a table
-- expect: refused
SELECT * INTO kept FROM silver.posts
