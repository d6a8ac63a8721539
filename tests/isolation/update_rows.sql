-- trick: changes its own rows
-- expect: refused
UPDATE silver.posts SET body = 'forged' WHERE likes > 0
