-- trick: the engine's own cache of file statistics
-- expect: refused
SELECT * FROM statistics_cache()
