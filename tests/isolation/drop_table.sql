-- trick: drops the table
-- expect: refused
DROP TABLE silver.posts
