-- trick: rows of its own making
-- expect: own rows only
VALUES ('acme', 1), ('globex', 2)
