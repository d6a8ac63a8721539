-- trick: asks for the CTE to be stored
-- expect: either
WITH p AS MATERIALIZED (SELECT post_id, body FROM silver.posts) SELECT * FROM p
