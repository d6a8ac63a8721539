-- trick: asks for all workspaces but its own
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id <> 'acme'
