-- trick: deletes the victim's rows
-- expect: refused
DELETE FROM silver.posts WHERE workspace_id = 'globex'
