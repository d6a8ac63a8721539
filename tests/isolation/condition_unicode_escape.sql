-- trick: the victim's name in unicode escapes
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = U&'\0067lobex'
