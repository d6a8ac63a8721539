-- trick: closes the subquery it might be wrapped in
-- expect: refused
SELECT post_id FROM silver.posts) t UNION ALL SELECT post_id FROM (SELECT * FROM silver.posts
