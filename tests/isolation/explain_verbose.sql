-- trick: a plan with statistics
-- expect: either
EXPLAIN VERBOSE SELECT * FROM silver.posts
