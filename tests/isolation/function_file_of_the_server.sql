-- trick: a file read by a scalar function
-- expect: refused
SELECT pg_read_file('{LAKE}/silver/posts/_delta_log/00000000000000000000.json') AS log
