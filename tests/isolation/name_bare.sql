-- trick: no schema at all
-- expect: either
SELECT * FROM posts
