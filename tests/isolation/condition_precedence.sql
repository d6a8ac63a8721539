-- trick: an OR that swallows a condition the engine would append with AND
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = 'globex' OR author IS NOT NULL OR false
