-- trick: lists the tables
-- expect: either
SHOW TABLES
