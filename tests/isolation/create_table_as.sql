-- trick: keeps rows in a table of the session
-- expect: refused
CREATE TABLE kept AS SELECT * FROM silver.posts
