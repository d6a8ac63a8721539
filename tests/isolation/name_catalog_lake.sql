-- trick: a catalog called like the product
-- expect: either
SELECT * FROM lake.silver.posts
