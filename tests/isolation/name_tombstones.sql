-- trick: the keys that were deleted, of every workspace
-- expect: either
SELECT * FROM silver.posts_tombstones
