-- trick: a path that climbs, as a table name
-- expect: refused
SELECT * FROM silver."../globex/posts"
