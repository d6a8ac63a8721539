-- trick: Cyrillic and full-width letters that look like the asker's or the victim's name
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id IN ('аcme', 'glоbex', 'ｇｌｏｂｅｘ')
