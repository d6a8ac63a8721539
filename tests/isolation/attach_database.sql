-- trick: attaches another database
-- expect: refused
ATTACH DATABASE '{LAKE}/other.db' AS other
