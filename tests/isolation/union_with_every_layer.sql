-- trick: adds up the same data from every layer
-- expect: own rows only
SELECT 'bronze' AS layer, count(*) AS n FROM bronze.posts
UNION ALL SELECT 'silver', count(*) FROM silver.posts
UNION ALL SELECT 'gold', count(*) FROM gold.daily_mentions
