-- trick: reads internals
-- expect: refused
PRAGMA database_list
