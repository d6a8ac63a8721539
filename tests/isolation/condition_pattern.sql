-- trick: a pattern that every workspace matches
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id LIKE '%' AND workspace_id NOT LIKE 'acm_'
