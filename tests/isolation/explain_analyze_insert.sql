-- trick: a write inside of a plan that is run
-- expect: refused
EXPLAIN ANALYZE INSERT INTO silver.posts SELECT * FROM silver.posts
