-- trick: the victim's name in dollar quotes
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = $$globex$$
