-- trick: a table function that reads files
-- expect: refused
SELECT * FROM read_csv('{LAKE}/data.csv')
