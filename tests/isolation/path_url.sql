-- trick: a file URL as a quoted name
-- expect: refused
SELECT * FROM "file://{LAKE}/silver/posts"
