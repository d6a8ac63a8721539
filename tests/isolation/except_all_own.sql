-- trick: takes its own rows away from all rows and keeps what is left
-- expect: own rows only
SELECT post_id, author, body FROM silver.posts
EXCEPT ALL
SELECT post_id, author, body FROM silver.posts WHERE post_id IS NOT NULL
