-- trick: lists the workspaces, which the partition values alone could answer
-- expect: either
SELECT DISTINCT workspace_id FROM silver.posts ORDER BY 1
