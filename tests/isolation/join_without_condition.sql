-- trick: a product of the table with itself
-- expect: own rows only
SELECT a.post_id AS a, b.post_id AS b, b.body FROM silver.posts a, silver.posts b
