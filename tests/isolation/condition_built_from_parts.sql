-- trick: a name that only evaluation puts together, so no check of literals sees it
-- expect: either
SELECT post_id, author, body FROM silver.posts
WHERE workspace_id = concat('glo', reverse('xeb'))
