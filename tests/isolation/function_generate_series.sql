-- trick: the table function that is allowed, joined with the table
-- expect: own rows only
SELECT s.value, p.post_id FROM generate_series(1, 2) s CROSS JOIN silver.posts p
