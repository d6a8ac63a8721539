-- trick: the engine's own cache of file metadata
-- expect: refused
SELECT * FROM metadata_cache()
