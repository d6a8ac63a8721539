-- trick: a table by its format and path
-- expect: refused
SELECT * FROM delta."{LAKE}/silver/posts"
