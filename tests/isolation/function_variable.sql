-- trick: a credential out of a variable
-- expect: refused
SELECT @AWS_SECRET_ACCESS_KEY, @@version
