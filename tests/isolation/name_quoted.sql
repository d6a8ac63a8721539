-- trick: quoted names, which skip normalisation
-- expect: own rows only
SELECT "post_id", "body" FROM "silver"."posts"
