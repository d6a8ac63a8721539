-- trick: asks whether a hidden row exists, without reading a column of it
-- expect: own rows only
SELECT count(*) AS n FROM (VALUES (1)) t(one) WHERE EXISTS (SELECT 1 FROM silver.posts WHERE likes = 424242)
