-- trick: a table function that reads files
-- expect: refused
SELECT * FROM delta_scan('{LAKE}/silver/posts')
