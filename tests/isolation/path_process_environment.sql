-- trick: the process's environment, where credentials are
-- expect: refused
SELECT * FROM '/proc/self/environ'
