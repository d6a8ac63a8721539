-- trick: names in upper case
-- expect: either
SELECT POST_ID, BODY FROM SILVER.POSTS
