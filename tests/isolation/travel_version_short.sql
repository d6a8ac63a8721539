-- trick: an earlier version, as Spark writes it
-- expect: either
SELECT * FROM silver.posts VERSION AS OF 0
