-- trick: a view, which may be read in another session
-- expect: refused
CREATE VIEW spy AS SELECT * FROM silver.posts
