-- trick: fails only if a hidden row is evaluated: a row of the victim has 424242 likes
-- expect: own rows only
SELECT post_id FROM silver.posts
WHERE 1000000 / (likes - 424242) IS NOT NULL
