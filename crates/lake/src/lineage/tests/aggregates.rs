//! Aggregates, grouping sets and windows.

use super::{Shape, check};

#[tokio::test]
async fn aggregates_name_their_arguments_and_their_groups() {
    check(&[
        Shape {
            name: "count star has no source",
            sql: "SELECT brand, date_trunc('day', posted_at) AS day, count(*) AS n FROM silver.posts \
                  WHERE body <> '' GROUP BY 1, 2",
            lineage: &[
                "from posts",
                "brand <- =posts.brand",
                "day <- ~posts.posted_at",
                "n <-",
                "filter posts.body",
                "group posts.brand, posts.posted_at",
            ],
        },
        Shape {
            name: "count of everything",
            sql: "SELECT count(*) AS n, count(1) AS m, count(likes) AS k FROM silver.posts",
            lineage: &["from posts", "n <-", "m <-", "k <- #posts.likes"],
        },
        Shape {
            name: "group that is not selected",
            sql: "SELECT max(likes) AS m FROM silver.posts GROUP BY author",
            lineage: &["from posts", "m <- #posts.likes", "group posts.author"],
        },
        Shape {
            name: "arithmetic around and inside of an aggregate",
            sql: "SELECT sum(likes * 2) + count(DISTINCT author) AS v, 1 + min(likes) AS w FROM silver.posts",
            lineage: &["from posts", "v <- #posts.author #posts.likes", "w <- #posts.likes"],
        },
        Shape {
            name: "a group key beside an aggregate of it",
            sql: "SELECT brand || max(brand) AS v FROM silver.posts GROUP BY brand",
            lineage: &["from posts", "v <- #posts.brand", "group posts.brand"],
        },
        Shape {
            name: "filter and order of an aggregate",
            sql: "SELECT sum(likes) FILTER (WHERE brand = 'a') AS s, \
                  array_agg(body ORDER BY posted_at) AS bodies FROM silver.posts",
            lineage: &["from posts", "s <- #posts.likes", "bodies <- #posts.body", "filter posts.brand", "sort posts.posted_at"],
        },
        Shape {
            name: "conditional aggregate",
            sql: "SELECT sum(CASE WHEN brand = 'a' THEN likes ELSE 0 END) AS s FROM silver.posts",
            lineage: &["from posts", "s <- #posts.likes", "case posts.brand"],
        },
        Shape {
            name: "having filters",
            sql: "SELECT author FROM silver.posts GROUP BY author HAVING sum(likes) > 10 AND count(*) > 1",
            lineage: &["from posts", "author <- =posts.author", "filter posts.likes", "group posts.author"],
        },
        Shape {
            name: "sort by an aggregate",
            sql: "SELECT author FROM silver.posts GROUP BY author ORDER BY max(likes)",
            lineage: &["from posts", "author <- =posts.author", "group posts.author", "sort posts.likes"],
        },
        Shape {
            name: "rollup",
            sql: "SELECT brand, author, sum(likes) AS s, grouping(author) AS g FROM silver.posts \
                  GROUP BY ROLLUP (brand, author)",
            lineage: &[
                "from posts",
                "brand <- =posts.brand",
                "author <- =posts.author",
                "s <- #posts.likes",
                "g <-",
                "group posts.author, posts.brand",
            ],
        },
        Shape {
            name: "grouping sets",
            sql: "SELECT author, brand, count(*) AS n, max(body) AS b FROM silver.posts \
                  GROUP BY GROUPING SETS ((author), (brand, author), ())",
            lineage: &[
                "from posts",
                "author <- =posts.author",
                "brand <- =posts.brand",
                "n <-",
                "b <- #posts.body",
                "group posts.author, posts.brand",
            ],
        },
        Shape {
            name: "a plain key beside a cube",
            sql: "SELECT author, brand, avg(likes) AS n FROM silver.posts GROUP BY author, CUBE (brand)",
            lineage: &[
                "from posts",
                "author <- =posts.author",
                "brand <- =posts.brand",
                "n <- #posts.likes",
                "group posts.author, posts.brand",
            ],
        },
        Shape {
            name: "aggregate of an aggregate",
            sql: "SELECT max(n) AS m FROM (SELECT author, count(body) AS n FROM silver.posts GROUP BY author)",
            lineage: &["from posts", "m <- #posts.body", "group posts.author"],
        },
        Shape {
            name: "the hard one of the spike",
            sql: "WITH r AS (SELECT author, sum(likes * (1 - length(body))) AS total FROM silver.posts \
                  WHERE brand <> 'r' GROUP BY author) \
                  SELECT a.country AS name, sum(r.total) AS revenue, count(*) AS n, max(a.followers) AS top \
                  FROM r JOIN silver.authors a ON a.handle = r.author WHERE a.manager = 'm' \
                  GROUP BY a.country HAVING sum(r.total) > 10 ORDER BY revenue DESC LIMIT 5",
            lineage: &[
                "from authors, posts",
                "name <- =authors.country",
                "revenue <- #posts.body #posts.likes",
                "n <-",
                "top <- #authors.followers",
                "filter authors.manager, posts.body, posts.brand, posts.likes",
                "join authors.handle, posts.author",
                "group authors.country, posts.author",
                "sort posts.body, posts.likes",
            ],
        },
    ])
    .await;
}

#[tokio::test]
async fn windows_take_values_from_arguments_only() {
    check(&[
        Shape {
            name: "row number",
            sql: "SELECT post_id, row_number() OVER (PARTITION BY author ORDER BY posted_at DESC) AS rn FROM silver.posts",
            lineage: &["from posts", "post_id <- =posts.post_id", "rn <-", "window posts.author, posts.posted_at"],
        },
        Shape {
            name: "aggregates and offsets over windows",
            sql: "SELECT sum(likes) OVER (PARTITION BY brand) AS s, lag(body, 1) OVER (ORDER BY posted_at) AS before, \
                  likes - avg(likes) OVER () AS above FROM silver.posts",
            lineage: &[
                "from posts",
                "s <- #posts.likes",
                "before <- ~posts.body",
                "above <- #posts.likes",
                "window posts.brand, posts.posted_at",
            ],
        },
        Shape {
            name: "latest row of each key",
            sql: "SELECT post_id, body FROM (SELECT *, row_number() OVER (PARTITION BY post_id ORDER BY posted_at DESC) AS rn \
                  FROM silver.posts) WHERE rn = 1",
            lineage: &["from posts", "post_id <- =posts.post_id", "body <- =posts.body", "window posts.post_id, posts.posted_at"],
        },
        Shape {
            name: "qualify",
            sql: "SELECT post_id FROM silver.posts QUALIFY max(likes) OVER (PARTITION BY author) > 3",
            lineage: &["from posts", "post_id <- =posts.post_id", "filter posts.likes", "window posts.author"],
        },
        Shape {
            name: "window over an aggregate",
            sql: "SELECT author, rank() OVER (ORDER BY sum(likes) DESC) AS place FROM silver.posts GROUP BY author",
            lineage: &["from posts", "author <- =posts.author", "place <-", "group posts.author", "window posts.likes"],
        },
        Shape {
            name: "filtered window",
            sql: "SELECT count(body) FILTER (WHERE likes > 1) OVER (ORDER BY posted_at) AS n FROM silver.posts",
            lineage: &["from posts", "n <- #posts.body", "filter posts.likes", "window posts.posted_at"],
        },
    ])
    .await;
}
