-- trick: a query without SELECT
-- expect: either
FROM silver.posts
