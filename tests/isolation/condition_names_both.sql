-- trick: asks for its own rows and the victim's in one condition
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = 'acme' OR workspace_id = 'globex'
