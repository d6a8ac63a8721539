-- trick: the short form of a query
-- expect: either
TABLE silver.posts
