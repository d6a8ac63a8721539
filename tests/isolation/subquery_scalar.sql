-- trick: takes one value out of all rows
-- expect: own rows only
SELECT post_id, (SELECT max(body) FROM silver.posts) AS greatest FROM silver.posts
