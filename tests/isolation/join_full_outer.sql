-- trick: keeps what has no partner on either side
-- expect: own rows only
SELECT a.post_id AS a, b.post_id AS b, b.body
FROM silver.posts a FULL OUTER JOIN silver.posts b ON a.post_id = b.author
