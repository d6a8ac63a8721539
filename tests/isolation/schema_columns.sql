-- trick: every column there is
-- expect: either
SELECT * FROM information_schema.columns WHERE table_name LIKE '%posts%'
