-- trick: the form in which progress names a workspace's table
-- expect: refused
SELECT * FROM silver."posts@globex"
