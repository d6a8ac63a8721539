-- trick: moves its rows into the victim's workspace
-- expect: refused
UPDATE silver.posts SET workspace_id = 'globex'
