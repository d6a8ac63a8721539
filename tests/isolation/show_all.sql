-- trick: lists the settings
-- expect: refused
SHOW ALL
