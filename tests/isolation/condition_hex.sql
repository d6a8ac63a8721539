-- trick: the victim's name as bytes
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = cast(X'676c6f626578' AS varchar)
