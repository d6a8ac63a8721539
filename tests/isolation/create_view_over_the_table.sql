-- trick: replaces the table with a view for everybody after
-- expect: refused
CREATE OR REPLACE VIEW silver.posts AS SELECT 'forged' AS body
