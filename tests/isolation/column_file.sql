-- trick: the file a row is in, as scans name it
-- expect: refused
SELECT __file, body FROM silver.posts
