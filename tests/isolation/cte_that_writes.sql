-- trick: a statement that writes, dressed as a CTE
-- expect: refused
WITH gone AS (DELETE FROM silver.posts RETURNING *) SELECT * FROM gone
