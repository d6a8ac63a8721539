-- trick: writes a row
-- expect: refused
INSERT INTO silver.posts (post_id, body) VALUES ('forged', 'forged')
