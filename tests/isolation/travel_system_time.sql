-- trick: an earlier time, as the standard writes it
-- expect: either
SELECT * FROM silver.posts FOR SYSTEM_TIME AS OF TIMESTAMP '2020-01-01 00:00:00'
