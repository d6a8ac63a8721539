-- trick: lists the columns
-- expect: either
SHOW COLUMNS FROM silver.posts
