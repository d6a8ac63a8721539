-- trick: takes the workspaces to read from the data
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id IN (SELECT DISTINCT workspace_id FROM silver.posts UNION ALL SELECT 'globex')
