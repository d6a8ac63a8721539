-- trick: the engine's default catalog
-- expect: either
SELECT * FROM datafusion.silver.posts
