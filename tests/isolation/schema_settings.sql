-- trick: the settings of the session
-- expect: refused
SELECT * FROM information_schema.df_settings
