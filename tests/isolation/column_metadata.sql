-- trick: the file a row is in, as Spark tells it
-- expect: refused
SELECT _metadata.file_path, body FROM silver.posts
