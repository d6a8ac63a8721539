-- trick: replaces everything
-- expect: refused
INSERT OVERWRITE silver.posts SELECT * FROM silver.posts WHERE false
