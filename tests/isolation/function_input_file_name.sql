-- trick: the path of the file a row is in
-- expect: either
SELECT input_file_name() AS file, post_id FROM silver.posts
