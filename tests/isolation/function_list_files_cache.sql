-- trick: the engine's own cache of file listings
-- expect: refused
SELECT * FROM list_files_cache()
