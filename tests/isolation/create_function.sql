-- trick: a function of its own
-- expect: refused
CREATE FUNCTION spy(bigint) RETURNS bigint RETURN $1 + 1
