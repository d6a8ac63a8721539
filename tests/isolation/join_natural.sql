-- trick: joins on every common column, the hidden ones too
-- expect: own rows only
SELECT * FROM silver.posts a NATURAL JOIN silver.posts b
