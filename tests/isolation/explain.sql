-- trick: a plan that lists files and their bounds
-- expect: either
EXPLAIN SELECT * FROM silver.posts
