//! Subqueries in expressions and lateral joins.

use super::{Shape, check};

#[tokio::test]
async fn subqueries_bring_values_or_decide() {
    check(&[
        Shape {
            name: "scalar subquery brings its value",
            sql: "SELECT likes - (SELECT max(followers) FROM silver.authors WHERE country = 'x') AS d FROM silver.posts",
            lineage: &[
                "from authors, posts",
                "d <- #authors.followers ~posts.likes",
                "filter authors.country",
            ],
        },
        Shape {
            name: "correlated scalar subquery",
            sql: "SELECT p.body, (SELECT a.country FROM silver.authors a WHERE a.handle = p.author) AS c FROM silver.posts p",
            lineage: &[
                "from authors, posts",
                "body <- =posts.body",
                "c <- =authors.country",
                "filter authors.handle, posts.author",
            ],
        },
        Shape {
            name: "outer column inside of the subquery's value",
            sql: "SELECT (SELECT a.followers + p.likes FROM silver.authors a LIMIT 1) AS v FROM silver.posts p",
            lineage: &["from authors, posts", "v <- ~authors.followers ~posts.likes"],
        },
        Shape {
            name: "scalar subquery in a filter",
            sql: "SELECT body FROM silver.posts WHERE likes > (SELECT avg(followers) FROM silver.authors)",
            lineage: &["from authors, posts", "body <- =posts.body", "filter authors.followers, posts.likes"],
        },
        Shape {
            name: "in",
            sql: "SELECT body FROM silver.posts WHERE brand IN (SELECT brand FROM silver.brands WHERE parent = 'p')",
            lineage: &[
                "from brands, posts",
                "body <- =posts.body",
                "filter brands.parent, posts.brand",
                "subquery brands.brand",
            ],
        },
        Shape {
            name: "not in, as a value",
            sql: "SELECT author NOT IN (SELECT handle FROM silver.authors) AS unknown FROM silver.posts",
            lineage: &["from authors, posts", "unknown <- ~posts.author", "subquery authors.handle"],
        },
        Shape {
            name: "exists ignores what it selects",
            sql: "SELECT p.body FROM silver.posts p WHERE EXISTS (SELECT * FROM silver.authors a WHERE a.handle = p.author)",
            lineage: &["from authors, posts", "body <- =posts.body", "filter authors.handle, posts.author"],
        },
        Shape {
            name: "two levels of correlation",
            sql: "SELECT p.body FROM silver.posts p WHERE EXISTS (SELECT 1 FROM silver.authors a WHERE a.handle = p.author \
                  AND EXISTS (SELECT 1 FROM silver.brands b WHERE b.brand = p.brand AND b.parent = a.country))",
            lineage: &[
                "from authors, brands, posts",
                "body <- =posts.body",
                "filter authors.country, authors.handle, brands.brand, brands.parent, posts.author, posts.brand",
            ],
        },
        Shape {
            name: "the same table outside and inside",
            sql: "SELECT body FROM silver.posts p WHERE likes = (SELECT max(likes) FROM silver.posts q WHERE q.author = p.author)",
            lineage: &["from posts", "body <- =posts.body", "filter posts.author, posts.likes"],
        },
        Shape {
            name: "any",
            sql: "SELECT body FROM silver.posts WHERE likes > ANY (SELECT followers FROM silver.authors)",
            lineage: &[
                "from authors, posts",
                "body <- =posts.body",
                "filter posts.likes",
                "subquery authors.followers",
            ],
        },
        Shape {
            name: "subquery in a condition of a case",
            sql: "SELECT CASE WHEN author IN (SELECT handle FROM silver.authors) THEN body END AS v FROM silver.posts",
            lineage: &[
                "from authors, posts",
                "v <- ~posts.body",
                "case posts.author",
                "subquery authors.handle",
            ],
        },
        Shape {
            name: "subquery after grouping",
            sql: "SELECT brand, (SELECT b.parent FROM silver.brands b WHERE b.brand = posts.brand) AS parent, count(*) AS n \
                  FROM silver.posts GROUP BY brand",
            lineage: &[
                "from brands, posts",
                "brand <- =posts.brand",
                "parent <- =brands.parent",
                "n <-",
                "filter brands.brand, posts.brand",
                "group posts.brand",
            ],
        },
    ])
    .await;
}

#[tokio::test]
async fn lateral_joins_see_the_left_side() {
    check(&[
        Shape {
            name: "lateral subquery",
            sql: "SELECT a.handle, t.body, t.more FROM silver.authors a CROSS JOIN LATERAL \
                  (SELECT p.body, p.likes + a.followers AS more FROM silver.posts p WHERE p.author = a.handle) t",
            lineage: &[
                "from authors, posts",
                "handle <- =authors.handle",
                "body <- =posts.body",
                "more <- ~authors.followers ~posts.likes",
                "filter authors.handle, posts.author",
            ],
        },
        Shape {
            name: "a lateral that sees a lateral",
            sql: "SELECT x.up, y.upper FROM silver.brands b, LATERAL (SELECT upper(b.brand) AS up) x, \
                  LATERAL (SELECT x.up || b.parent AS upper) y",
            lineage: &["from brands", "up <- ~brands.brand", "upper <- ~brands.brand ~brands.parent"],
        },
        Shape {
            name: "left join lateral",
            sql: "SELECT a.handle, t.n FROM silver.authors a LEFT JOIN LATERAL \
                  (SELECT count(p.body) AS n FROM silver.posts p WHERE p.author = a.handle) t ON true",
            lineage: &[
                "from authors, posts",
                "handle <- =authors.handle",
                "n <- #posts.body",
                "filter authors.handle, posts.author",
            ],
        },
        Shape {
            name: "unnest of a column beside its table",
            sql: "SELECT p.post_id, t.tag FROM silver.posts p CROSS JOIN UNNEST(p.tags) AS t(tag)",
            lineage: &["from posts", "post_id <- =posts.post_id", "tag <- ~posts.tags"],
        },
    ])
    .await;
}
