"""The pipelines the oracle knows, said a second time in its own words. Where this and a YAML file differ, a test fails."""
from semantics import Bronze, Column, Silver, Spec

POST_COLUMNS = ["id", "workspace_id", "op", "user.name", "user.followers", "brand", "platform", "text", "lang", "likes", "sentiment", "url", "created", "updated"]

POSTS = Silver(
    source="posts",
    columns=[
        Column("post_id", "string", "id", required=True), Column("author", "string", '"user.name"', required=True), Column("brand", "string", "brand", required=True),
        Column("platform", "string", "platform"), Column("body", "string", "text"), Column("lang", "string", "lang"), Column("likes", "long", "likes"),
        Column("sentiment", "double", "sentiment"), Column("url", "string", "url"), Column("posted_at", "timestamp", "created", required=True),
        Column("updated_at", "timestamp", "updated", required=True),
    ],
    key=["post_id"],
    sequence_by="updated_at",
    where="op = 'U' OR op = 'D'",
    delete_when="op = 'D'",
    expect={
        "id_shape": ("post_id LIKE 'p%'", "fail"),
        "body_present": ("length(body) > 0", "quarantine"),
        "likes_not_negative": ("likes IS NULL OR likes >= 0", "quarantine"),
        "sane_date": ("posted_at > TIMESTAMPTZ '2006-01-01 00:00:00Z'", "drop"),
        "short_enough": ("length(body) <= 280", "warn"),
        "known_platform": ("platform IN ('chirp', 'photogram', 'clipr', 'threadbare')", "warn"),
    },
)

BRANDS = Silver(
    source="brands",
    columns=[
        Column("brand_id", "string", "brand_id", required=True), Column("name", "string", "name", required=True), Column("industry", "string", "industry"),
        Column("country", "string", "country"), Column("founded", "date", "founded"), Column("monthly_budget", "decimal(12,2)", "monthly_budget"),
        Column("active", "boolean", "active"), Column("updated_at", "timestamp", "updated_at"),
    ],
    key=["brand_id"],
    sequence_by="updated_at",
    expect={"budget_not_negative": ("monthly_budget >= 0", "quarantine"), "country_code": ("length(country) = 2", "warn")},
)

DAILY_MENTIONS = """SELECT workspace_id, brand, CAST(posted_at AT TIME ZONE 'UTC' AS DATE) AS day, count(*) AS posts, CAST(sum(likes) AS BIGINT) AS likes,
    sum(sentiment) / count(sentiment) AS sentiment FROM silver_posts GROUP BY ALL"""

BRAND_LEADERBOARD = """SELECT b.workspace_id, b.brand_id, b.name, b.industry, b.monthly_budget, count(p.post_id) AS posts, CAST(coalesce(sum(p.likes), 0) AS BIGINT) AS likes,
    1 + (SELECT count(*) FROM (SELECT x.brand_id FROM silver_brands x LEFT JOIN silver_posts y ON y.workspace_id = x.workspace_id AND y.brand = x.brand_id
         WHERE x.workspace_id = b.workspace_id GROUP BY x.brand_id HAVING count(y.post_id) > count(p.post_id))) AS place
    FROM silver_brands b LEFT JOIN silver_posts p ON p.workspace_id = b.workspace_id AND p.brand = b.brand_id
    GROUP BY b.workspace_id, b.brand_id, b.name, b.industry, b.monthly_budget"""

LANGUAGE_MIX = """SELECT workspace_id, lang, count(*) AS posts, count(DISTINCT author) AS authors,
    count(*)::DOUBLE / any_value(total)::DOUBLE AS share, max(posted_at) AS latest
    FROM silver_posts JOIN (SELECT workspace_id, count(*) AS total FROM silver_posts GROUP BY 1) USING (workspace_id) GROUP BY workspace_id, lang"""

QUICKSTART = Spec(
    bronze={
        "posts": Bronze("posts/*", "ndjson", POST_COLUMNS),
        "brands": Bronze("brands/*", "csv", ["workspace_id", "brand_id", "name", "industry", "country", "founded", "monthly_budget", "active", "updated_at"]),
    },
    silver={"posts": POSTS, "brands": BRANDS},
    gold={"daily_mentions": DAILY_MENTIONS, "brand_leaderboard": BRAND_LEADERBOARD, "language_mix": LANGUAGE_MIX},
)

GROWING = Spec(bronze={"posts": Bronze("*.ndjson", "ndjson", POST_COLUMNS)}, silver={"posts": POSTS}, gold={"daily_mentions": DAILY_MENTIONS, "language_mix": LANGUAGE_MIX})

FLIGHTS = Spec(
    bronze={
        "flights": Bronze(
            "*.csv", "csv",
            ["op", "flown_on", "carrier", "flight", "origin", "dest", "tailnum", "scheduled_hour", "dep_delay", "arr_delay", "air_time", "distance", "updated_at"],
            workspace="carrier",
        )
    },
    silver={
        "flights": Silver(
            source="flights",
            columns=[
                Column("flown_on", "date", "flown_on", required=True), Column("flight", "integer", "flight", required=True), Column("origin", "string", "origin", required=True),
                Column("dest", "string", "dest", required=True), Column("tailnum", "string", "tailnum"), Column("scheduled_hour", "timestamp", "scheduled_hour", required=True),
                Column("dep_delay", "long", "dep_delay"), Column("arr_delay", "long", "arr_delay"), Column("air_time", "long", "air_time"),
                Column("distance", "double", "distance", required=True), Column("updated_at", "timestamp", "updated_at", required=True),
            ],
            key=["flown_on", "flight", "origin"],
            sequence_by="updated_at",
            where="dest IS NULL OR dest <> 'LEX'",
            delete_when="op = 'delete'",
            expect={
                "plausible_distance": ("distance BETWEEN 17 AND 6000", "quarantine"),
                "in_2013": ("flown_on BETWEEN DATE '2013-01-01' AND DATE '2013-12-31'", "drop"),
                "has_tail_number": ("tailnum IS NOT NULL", "warn"),
            },
        )
    },
    gold={
        "daily_delays": """SELECT workspace_id, flown_on, origin, count(*) AS flights, count(*) - count(dep_delay) AS cancelled, CAST(sum(arr_delay) AS BIGINT) AS arr_delay,
            CAST(max(dep_delay) AS BIGINT) AS worst_delay, sum(distance) AS distance FROM silver_flights GROUP BY ALL""",
        "routes": """SELECT workspace_id, origin, dest, count(*) AS flights, CAST(sum(arr_delay) AS DOUBLE) / count(arr_delay) AS mean_arr_delay, min(scheduled_hour) AS first_hour,
            (SELECT count(*) + 1 FROM (SELECT origin, dest FROM silver_flights b WHERE b.workspace_id = a.workspace_id GROUP BY ALL HAVING count(*) > count(a.flight))) AS place
            FROM silver_flights a GROUP BY workspace_id, origin, dest""",
    },
)

SPECS = {"quickstart": QUICKSTART, "growing": GROWING, "flights": FLIGHTS}
