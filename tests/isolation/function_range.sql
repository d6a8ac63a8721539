-- trick: the other table function that is allowed
-- expect: own rows only
SELECT value FROM range(0, 3)
