-- trick: describes the table
-- expect: either
DESCRIBE silver.posts
