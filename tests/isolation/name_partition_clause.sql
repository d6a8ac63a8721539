-- trick: a partition picked with a clause
-- expect: either
SELECT * FROM silver.posts PARTITION (globex)
