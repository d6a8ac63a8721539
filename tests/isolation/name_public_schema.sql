-- trick: the engine's default schema
-- expect: refused
SELECT * FROM public.posts
