-- trick: the victim as a catalog
-- expect: refused
SELECT * FROM globex.silver.posts
