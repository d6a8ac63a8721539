-- trick: calls a procedure
-- expect: refused
CALL system.query('SELECT 1')
