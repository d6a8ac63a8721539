-- trick: puts a setting back to the engine's own default
-- expect: refused
RESET datafusion.catalog.information_schema
