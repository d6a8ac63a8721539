-- trick: filters by what exists in another workspace
-- expect: either
SELECT p.post_id FROM silver.posts p
WHERE EXISTS (SELECT 1 FROM silver.posts q WHERE q.workspace_id = 'globex' AND q.brand = p.brand)
