-- trick: the partition value, as a column
-- expect: either
SELECT workspace_id, post_id FROM silver.posts
