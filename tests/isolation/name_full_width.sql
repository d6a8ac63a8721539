-- trick: full-width letters, in the hope of normalisation after the check
-- expect: refused
SELECT * FROM ｓｉｌｖｅｒ.posts
