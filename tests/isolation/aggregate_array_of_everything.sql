-- trick: folds every body into one value
-- expect: own rows only
SELECT array_agg(body ORDER BY post_id) AS bodies, string_agg(author, ',' ORDER BY post_id) AS authors FROM silver.posts
