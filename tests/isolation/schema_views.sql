-- trick: the text of views, which may tell a filter
-- expect: either
SELECT * FROM information_schema.views
