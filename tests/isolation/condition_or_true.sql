-- trick: a condition that is always true
-- expect: own rows only
SELECT post_id, author, body FROM silver.posts
WHERE author = 'nobody' OR 1=1
