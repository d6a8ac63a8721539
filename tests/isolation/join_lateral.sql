-- trick: a subquery in FROM that runs once for each row
-- expect: own rows only
SELECT p.post_id, t.body FROM silver.posts p
CROSS JOIN LATERAL (SELECT q.body FROM silver.posts q WHERE q.brand = p.brand) t
