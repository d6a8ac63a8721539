//! Structs, lists and maps.

use datafusion::prelude::{SessionConfig, SessionContext};

use super::{Shape, check, plan, plan_lineage, render, with_tables};

#[tokio::test]
async fn struct_fields_are_columns_of_their_own() {
    check(&[
        Shape {
            name: "field and field of a field",
            sql: "SELECT posts.\"user\".name AS n, \"user\"['home']['city'] AS city, \"user\" AS u FROM silver.posts",
            lineage: &["from posts", "n <- =posts.user.name", "city <- =posts.user.home.city", "u <- =posts.user"],
        },
        Shape {
            name: "field of a struct that went through a CTE",
            sql: "WITH a AS (SELECT \"user\" AS u, likes FROM silver.posts) SELECT upper(u['home']['zip']) AS zip FROM a \
                  WHERE u['id'] <> ''",
            lineage: &["from posts", "zip <- ~posts.user.home.zip", "filter posts.user.id"],
        },
        Shape {
            name: "field of a struct that the query put together",
            sql: "WITH a AS (SELECT named_struct('who', author, 'loud', upper(body)) AS s FROM silver.posts) \
                  SELECT s['who'] AS who, s['loud'] AS loud, s FROM a",
            lineage: &["from posts", "who <- =posts.author", "loud <- ~posts.body", "s <- ~posts.author ~posts.body"],
        },
        Shape {
            name: "positional struct",
            sql: "SELECT s['c1'] AS v FROM (SELECT struct(author, body) AS s FROM silver.posts)",
            lineage: &["from posts", "v <- =posts.body"],
        },
        Shape {
            name: "struct literal",
            sql: "SELECT s['a'] AS v FROM (SELECT {'a': author, 'b': body} AS s FROM silver.posts)",
            lineage: &["from posts", "v <- =posts.author"],
        },
        Shape {
            name: "fields through a union stay apart",
            sql: "SELECT s['a'] AS v FROM (SELECT named_struct('a', author, 'b', body) AS s FROM silver.posts \
                  UNION ALL SELECT named_struct('a', country, 'b', handle) FROM silver.authors)",
            lineage: &["from authors, posts", "v <- =authors.country =posts.author"],
        },
        Shape {
            name: "unnested struct",
            sql: "SELECT unnest(\"user\"), likes FROM silver.posts",
            lineage: &[
                "from posts",
                "silver.posts.user.id <- =posts.user.id",
                "silver.posts.user.name <- =posts.user.name",
                "silver.posts.user.home <- =posts.user.home",
                "likes <- =posts.likes",
            ],
        },
        Shape {
            name: "group and count by a field",
            sql: "SELECT posts.\"user\".name AS n, count(posts.\"user\".id) AS c FROM silver.posts GROUP BY posts.\"user\".name",
            lineage: &["from posts", "n <- =posts.user.name", "c <- #posts.user.id", "group posts.user.name"],
        },
    ])
    .await;
}

#[tokio::test]
async fn lists_and_maps_are_taken_whole() {
    check(&[
        Shape {
            name: "unnest",
            sql: "SELECT post_id, unnest(tags) AS tag FROM silver.posts",
            lineage: &["from posts", "post_id <- =posts.post_id", "tag <- ~posts.tags"],
        },
        Shape {
            name: "unnest of two lists and an expression over one",
            sql: "SELECT upper(unnest(tags)) AS tag, unnest(items) AS item FROM silver.posts WHERE likes > 1",
            lineage: &["from posts", "tag <- ~posts.tags", "item <- ~posts.items", "filter posts.likes"],
        },
        Shape {
            name: "field of a list's element",
            sql: "SELECT item['sku'] AS sku FROM (SELECT unnest(items) AS item FROM silver.posts)",
            lineage: &["from posts", "sku <- ~posts.items"],
        },
        Shape {
            name: "element, slice, length",
            sql: "SELECT tags[1] AS first, tags[1:2] AS two, array_length(tags) AS n, [author, body] AS both FROM silver.posts",
            lineage: &[
                "from posts",
                "first <- ~posts.tags",
                "two <- ~posts.tags",
                "n <- ~posts.tags",
                "both <- ~posts.author ~posts.body",
            ],
        },
        Shape {
            name: "a map's key is a value, not a column",
            sql: "SELECT labels['lang'] AS lang FROM silver.posts",
            lineage: &["from posts", "lang <- ~posts.labels"],
        },
    ])
    .await;
}

#[tokio::test]
async fn lambdas_and_unquoted_names_of_another_dialect_are_understood() {
    let config = SessionConfig::new().set_str("datafusion.sql_parser.dialect", "duckdb");
    let session = with_tables(SessionContext::new_with_config(config));
    let sql = "SELECT array_transform(tags, t -> t || body) AS v, user.name AS n FROM silver.posts";
    let lineage = plan_lineage("gold.out", &plan(&session, sql).await);
    assert_eq!(render(&lineage), ["from posts", "v <- ~posts.body ~posts.tags", "n <- =posts.user.name"]);
}
