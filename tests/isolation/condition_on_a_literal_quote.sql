-- trick: a quote and a comment inside of a literal, in the hope that SQL is glued together from text
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = 'acme'' OR workspace_id = ''globex'' --'
