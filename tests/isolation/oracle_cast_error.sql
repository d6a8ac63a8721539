-- trick: an error that would quote the value of a hidden row
-- expect: either
SELECT post_id FROM silver.posts
WHERE cast(body AS bigint) > 0 AND author <> ''
