-- trick: shows how the table was made, with its location
-- expect: either
SHOW CREATE TABLE silver.posts
