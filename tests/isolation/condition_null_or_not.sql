-- trick: covers every value and null
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id IS NULL OR workspace_id IS NOT NULL
