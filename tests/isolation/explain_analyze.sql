-- trick: a plan with counts of rows, pruned ones too
-- expect: either
EXPLAIN ANALYZE SELECT * FROM silver.posts WHERE likes = 424242
