-- trick: changes what a bare name means
-- expect: refused
SET datafusion.catalog.default_schema = 'globex'
