-- trick: path segments and percent escapes in the value, as a directory name would hold them
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id IN ('acme/../globex', 'acme%2F..%2Fglobex', '../workspace_id=globex', 'globex/')
