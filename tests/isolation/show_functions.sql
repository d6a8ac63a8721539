-- trick: lists the functions
-- expect: either
SHOW FUNCTIONS
