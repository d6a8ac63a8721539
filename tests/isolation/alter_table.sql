-- trick: changes the table
-- expect: refused
ALTER TABLE silver.posts ADD COLUMN spy varchar
