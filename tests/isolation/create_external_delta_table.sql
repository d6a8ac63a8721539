-- trick: a table over the whole Delta table
-- expect: refused
CREATE EXTERNAL TABLE spy STORED AS DELTATABLE LOCATION '{LAKE}/silver/posts'
