-- trick: a stream over a file of the server
-- expect: refused
CREATE UNBOUNDED EXTERNAL TABLE spy (line varchar) STORED AS CSV LOCATION '/proc/self/environ'
