-- trick: a zero-width space in the name
-- expect: refused
SELECT * FROM silver."po​sts"
