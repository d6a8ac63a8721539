-- trick: a hint to the planner in a comment
-- expect: own rows only
SELECT /*+ IGNORE_FILTERS, PARTITION(globex) */ post_id FROM silver.posts
