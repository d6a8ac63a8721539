-- trick: the change feed of the table
-- expect: refused
SELECT * FROM table_changes('silver.posts', 0)
