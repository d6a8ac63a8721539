-- trick: removes a prepared statement
-- expect: refused
DEALLOCATE spy
