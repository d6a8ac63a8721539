-- trick: the folder of run reports and catalog records
-- expect: refused
SELECT * FROM _lake.runs
