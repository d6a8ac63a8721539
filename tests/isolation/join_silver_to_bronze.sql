-- trick: a right join, so that all of the raw rows appear
-- expect: own rows only
SELECT count(*) AS n, count(s.post_id) AS matched FROM silver.posts s RIGHT JOIN bronze.posts b ON s.post_id = 'nothing'
