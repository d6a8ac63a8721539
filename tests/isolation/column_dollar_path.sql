-- trick: the file a row is in, as Trino tells it
-- expect: refused
SELECT "$path", "$partition", body FROM silver.posts
