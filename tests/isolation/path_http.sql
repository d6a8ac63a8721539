-- trick: makes the server fetch an address of the caller's choice
-- expect: refused
SELECT * FROM 'http://127.0.0.1:1/latest/meta-data/iam.json'
