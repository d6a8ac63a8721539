-- trick: counts rows for each workspace
-- expect: either
SELECT workspace_id, count(*) AS n, max(body) AS sample FROM silver.posts GROUP BY workspace_id
