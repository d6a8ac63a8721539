-- trick: the victim's name in C escapes
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = E'\x67lobex'
