-- trick: a recursive CTE with the name of the table it reads
-- expect: either
WITH RECURSIVE posts AS (
  SELECT post_id, 1 AS depth FROM silver.posts
  UNION
  SELECT q.post_id, p.depth + 1 FROM posts p, silver.posts q WHERE p.depth < 2
) SELECT * FROM posts
