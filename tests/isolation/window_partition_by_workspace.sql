-- trick: ranks inside of each workspace
-- expect: either
SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY workspace_id ORDER BY post_id) AS rn FROM silver.posts) WHERE rn = 1
