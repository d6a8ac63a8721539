-- trick: the same name for a CTE outside and another inside
-- expect: either
WITH p AS (SELECT 1 AS n) SELECT * FROM (WITH p AS (SELECT post_id FROM silver.posts) SELECT * FROM p) t, p
