-- trick: every table there is
-- expect: either
SELECT * FROM information_schema.tables
