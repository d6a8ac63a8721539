-- trick: switches on what was switched off
-- expect: refused
SET datafusion.catalog.information_schema = true
