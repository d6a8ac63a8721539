-- trick: fetches code
-- expect: refused
INSTALL httpfs
