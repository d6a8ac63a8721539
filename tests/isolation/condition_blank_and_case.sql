-- trick: case, blanks and a zero-width joiner, in the hope that somebody normalises names
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE trim(lower(workspace_id)) = 'globex' OR workspace_id IN ('acme ', 'GLOBEX', 'glo‍bex')
