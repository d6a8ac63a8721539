-- trick: asks for the other workspace by name
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = 'globex'
