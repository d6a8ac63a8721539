-- trick: loads code
-- expect: refused
LOAD httpfs
