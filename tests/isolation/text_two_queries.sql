-- trick: two queries, of which only the first might be checked
-- expect: refused
SELECT post_id, author, body FROM silver.posts;
SELECT * FROM globex.silver.posts
