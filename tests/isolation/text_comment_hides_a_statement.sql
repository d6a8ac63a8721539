-- trick: a statement behind a comment
-- expect: refused
SELECT 1; -- nothing to see here
/* or here */ DROP TABLE silver.posts
