-- trick: a credential out of the environment
-- expect: refused
SELECT getenv('AWS_SECRET_ACCESS_KEY') AS secret
