-- trick: comments that would cut off an appended condition
-- expect: own rows only
SELECT post_id, body FROM silver.posts /* WHERE workspace_id = 'acme' */ WHERE true -- AND workspace_id = 'acme'
