-- trick: grants itself everything
-- expect: refused
GRANT ALL ON silver.posts TO acme
