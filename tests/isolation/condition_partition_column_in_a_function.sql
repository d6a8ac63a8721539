-- trick: hides the partition column in functions, so that pruning by literal does not apply
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE coalesce(nullif(workspace_id, 'acme'), 'globex') = 'globex'
