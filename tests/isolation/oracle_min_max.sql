-- trick: bounds that file statistics could answer, over all partitions
-- expect: own rows only
SELECT min(post_id) AS lowest, max(post_id) AS highest, max(likes) AS most, max(posted_at) AS latest FROM silver.posts
