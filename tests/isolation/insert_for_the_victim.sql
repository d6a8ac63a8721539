-- trick: writes a row into the victim's partition
-- expect: refused
INSERT INTO silver.posts (post_id, body, workspace_id) VALUES ('forged', 'forged', 'globex')
