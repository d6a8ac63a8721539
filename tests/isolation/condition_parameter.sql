-- trick: a parameter nobody binds
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = $1
