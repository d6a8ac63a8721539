-- trick: a second statement after the first
-- expect: refused
SELECT 1;
DELETE FROM silver.posts
