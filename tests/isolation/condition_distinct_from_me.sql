-- trick: the null-safe form of not equal, which partition pruning may not know
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id IS DISTINCT FROM 'acme'
