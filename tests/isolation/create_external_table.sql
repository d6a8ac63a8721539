-- trick: a table over the victim's files
-- expect: refused
CREATE EXTERNAL TABLE spy STORED AS PARQUET LOCATION '{LAKE}/silver/posts/workspace_id=globex/'
