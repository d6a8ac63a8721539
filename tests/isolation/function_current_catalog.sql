-- trick: where the session is
-- expect: either
SELECT current_catalog() AS c, current_schema() AS s
