-- trick: pages past its own rows
-- expect: own rows only
SELECT post_id, body FROM silver.posts ORDER BY post_id LIMIT 1000 OFFSET 0
