-- trick: prepares a statement, to be run without a check
-- expect: refused
PREPARE spy AS SELECT * FROM silver.posts WHERE author = $1
