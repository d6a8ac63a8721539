-- trick: a subquery that names another workspace than the row outside
-- expect: either
SELECT post_id, (SELECT count(*) FROM silver.posts q WHERE q.workspace_id <> p.workspace_id) AS others FROM silver.posts p
