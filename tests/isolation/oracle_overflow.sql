-- trick: overflows only if a hidden row is summed: a row of the victim has 424242 likes
-- expect: own rows only
SELECT sum(CASE WHEN likes = 424242 THEN 9223372036854775807 ELSE 0 END)
     + max(CASE WHEN likes = 424242 THEN 1 ELSE 0 END) AS n
FROM silver.posts
