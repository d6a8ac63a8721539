-- trick: a table function that reads files
-- expect: refused
SELECT * FROM read_text('/proc/self/environ')
