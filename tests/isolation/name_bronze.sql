-- trick: the raw rows, before any rule
-- expect: own rows only
SELECT * FROM bronze.posts
