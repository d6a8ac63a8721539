-- trick: what the engine is
-- expect: either
SELECT version() AS engine
