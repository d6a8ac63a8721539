-- trick: a count that table metadata could answer, over all partitions
-- expect: own rows only
SELECT count(*) AS n FROM silver.posts
