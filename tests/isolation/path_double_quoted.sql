-- trick: a file path as a quoted name
-- expect: refused
SELECT * FROM "{LAKE}/silver/posts/workspace_id=globex/"
