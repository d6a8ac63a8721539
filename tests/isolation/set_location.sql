-- trick: points the default catalog at the files
-- expect: refused
SET datafusion.catalog.location = '{LAKE}/silver/posts'
