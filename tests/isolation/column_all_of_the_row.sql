-- trick: the whole row as one value
-- expect: either
SELECT posts FROM silver.posts
