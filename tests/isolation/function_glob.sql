-- trick: a table function that reads files
-- expect: refused
SELECT * FROM glob('{LAKE}/**')
