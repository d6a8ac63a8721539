-- trick: a grand total beside the groups
-- expect: either
SELECT workspace_id, brand, count(*) AS n FROM silver.posts GROUP BY GROUPING SETS ((workspace_id, brand), (brand), ())
