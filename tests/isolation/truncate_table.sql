-- trick: empties the table
-- expect: refused
TRUNCATE TABLE silver.posts
