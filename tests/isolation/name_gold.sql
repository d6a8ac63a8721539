-- trick: the aggregate, which one commit writes for all workspaces
-- expect: own rows only
SELECT * FROM gold.daily_mentions ORDER BY 1, 2
