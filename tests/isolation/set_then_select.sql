-- trick: changes a setting and uses it in the same text
-- expect: refused
SET datafusion.catalog.default_schema = 'silver'; SELECT * FROM posts
