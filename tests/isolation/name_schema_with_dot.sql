-- trick: victim and layer as one quoted schema
-- expect: refused
SELECT * FROM "globex.silver".posts
