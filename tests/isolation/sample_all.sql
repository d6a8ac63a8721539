-- trick: a sample of everything
-- expect: either
SELECT * FROM silver.posts TABLESAMPLE BERNOULLI (100)
