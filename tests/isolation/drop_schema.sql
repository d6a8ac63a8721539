-- trick: drops a layer
-- expect: refused
DROP SCHEMA silver CASCADE
