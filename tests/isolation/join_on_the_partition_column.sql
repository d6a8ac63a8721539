-- trick: one side is its own workspace, the other any
-- expect: either
SELECT a.workspace_id, b.workspace_id, b.body
FROM silver.posts a JOIN silver.posts b ON a.workspace_id <> b.workspace_id
