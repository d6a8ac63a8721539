-- trick: writes its own rows again
-- expect: refused
INSERT INTO silver.posts SELECT * FROM silver.posts
