-- trick: merges into the table
-- expect: refused
MERGE INTO silver.posts t USING silver.posts s ON t.post_id = s.post_id WHEN MATCHED THEN DELETE
