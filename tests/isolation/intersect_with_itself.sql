-- trick: meets with itself
-- expect: own rows only
SELECT post_id, author, body FROM silver.posts
INTERSECT
SELECT post_id, author, body FROM silver.posts
