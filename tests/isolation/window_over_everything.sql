-- trick: a window over all rows there are
-- expect: own rows only
SELECT post_id, count(*) OVER () AS n, max(likes) OVER () AS most,
       first_value(body) OVER (ORDER BY post_id DESC) AS first, lag(body) OVER (ORDER BY posted_at, post_id) AS before
FROM silver.posts
