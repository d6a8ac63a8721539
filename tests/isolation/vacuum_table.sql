-- trick: removes old files
-- expect: refused
VACUUM silver.posts
