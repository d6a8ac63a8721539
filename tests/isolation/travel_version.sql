-- trick: an earlier version, from before a rule applied
-- expect: either
SELECT * FROM silver.posts FOR VERSION AS OF 0
