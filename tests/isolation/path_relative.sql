-- trick: a relative path
-- expect: refused
SELECT * FROM './lakehouse/silver/posts'
