-- trick: the rows that were refused, with reason and origin, of every workspace
-- expect: either
SELECT * FROM silver.posts_quarantine
