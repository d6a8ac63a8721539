-- trick: a schema with the victim's name
-- expect: refused
CREATE SCHEMA globex
