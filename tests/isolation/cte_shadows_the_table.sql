-- trick: a CTE with the bare name of the table
-- expect: own rows only
WITH posts AS (SELECT * FROM silver.posts) SELECT * FROM posts
