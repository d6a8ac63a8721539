-- trick: the log beside the data
-- expect: refused
SELECT * FROM silver."posts/_delta_log"
