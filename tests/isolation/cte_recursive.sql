-- trick: starts at its own rows and walks on
-- expect: own rows only
WITH RECURSIVE walk AS (
  SELECT post_id, brand, 1 AS depth FROM silver.posts
  UNION ALL
  SELECT p.post_id, p.brand, w.depth + 1 FROM walk w JOIN silver.posts p ON p.brand = w.brand WHERE w.depth < 2
) SELECT post_id, brand, depth FROM walk
