-- trick: a CTE with the full name of the table, which hides it
-- expect: own rows only
WITH "silver.posts" AS (SELECT 'mine' AS body) SELECT * FROM silver.posts
