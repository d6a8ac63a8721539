-- trick: a table directory as a schema and a partition as a table
-- expect: refused
SELECT * FROM "silver/posts"."workspace_id=globex"
