-- trick: a table name that evaluation makes
-- expect: refused
SELECT * FROM IDENTIFIER('globex' || '.silver.posts')
