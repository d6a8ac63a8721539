-- trick: a file of the machine
-- expect: refused
SELECT * FROM '/etc/passwd.csv'
