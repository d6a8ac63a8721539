-- trick: blanks and a comment inside of the name
-- expect: own rows only
SELECT post_id FROM silver /* . globex */ . posts
