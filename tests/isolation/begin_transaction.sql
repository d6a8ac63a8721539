-- trick: opens a transaction
-- expect: refused
BEGIN TRANSACTION
