-- trick: a literal that never ends
-- expect: refused
SELECT post_id FROM silver.posts WHERE author = 'x
