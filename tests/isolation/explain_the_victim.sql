-- trick: a plan over the victim's partition
-- expect: either
EXPLAIN SELECT * FROM silver.posts WHERE workspace_id = 'globex'
