-- trick: adds the victim's rows to its own
-- expect: either
SELECT post_id, author, body FROM silver.posts
UNION ALL
SELECT post_id, author, body FROM silver.posts WHERE workspace_id = 'globex'
