-- trick: a comment that never ends, so that what is appended is lost
-- expect: refused
SELECT post_id FROM silver.posts /* WHERE
