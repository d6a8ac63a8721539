-- trick: the position of a row, so that gaps tell of hidden rows
-- expect: refused
SELECT ctid, rowid, body FROM silver.posts
