-- trick: the column that delta-rs adds to find a row's file
-- expect: refused
SELECT __delta_rs_path, body FROM silver.posts
