-- trick: the log, which names every workspace's files and holds their bounds
-- expect: refused
SELECT * FROM '{LAKE}/silver/posts/_delta_log/00000000000000000000.json'
