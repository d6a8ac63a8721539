-- trick: deletes its own rows
-- expect: refused
DELETE FROM silver.posts WHERE author <> ''
