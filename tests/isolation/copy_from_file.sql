-- trick: loads a file into the table
-- expect: refused
COPY silver.posts FROM '{LAKE}/data.csv'
