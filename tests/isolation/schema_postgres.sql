-- trick: the catalog of PostgreSQL
-- expect: refused
SELECT * FROM pg_catalog.pg_tables
