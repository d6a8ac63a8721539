-- trick: the victim as a schema
-- expect: refused
SELECT * FROM globex.posts
