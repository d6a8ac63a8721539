-- trick: shows one setting
-- expect: refused
SHOW datafusion.catalog.location
