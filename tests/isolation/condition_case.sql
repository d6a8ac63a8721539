-- trick: a condition that only evaluation shows to be true
-- expect: own rows only
SELECT post_id, author, body FROM silver.posts
WHERE CASE WHEN length(author) < 0 THEN false ELSE true END
