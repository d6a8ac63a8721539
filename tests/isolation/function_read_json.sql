-- trick: a table function that reads files
-- expect: refused
SELECT * FROM read_json('{LAKE}/silver/posts/_delta_log/00000000000000000000.json')
