//! Projections, filters, joins, set operations, CTEs and views.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, col, lit};

use super::{Shape, check, plan, plan_lineage, render, session, tables};

#[tokio::test]
async fn projections_and_filters_keep_their_columns_apart() {
    check(&[
        Shape {
            name: "identity, rename, cast, arithmetic, literal",
            sql: "SELECT post_id, author AS who, cast(likes AS varchar) AS likes_text, likes + 1 AS more, 'x' AS tag \
                  FROM silver.posts",
            lineage: &[
                "from posts",
                "post_id <- =posts.post_id",
                "who <- =posts.author",
                "likes_text <- ~posts.likes",
                "more <- ~posts.likes",
                "tag <-",
            ],
        },
        Shape {
            name: "star",
            sql: "SELECT * FROM silver.authors",
            lineage: &[
                "from authors",
                "handle <- =authors.handle",
                "country <- =authors.country",
                "followers <- =authors.followers",
                "manager <- =authors.manager",
            ],
        },
        Shape {
            name: "star without a column, and one replaced",
            sql: "SELECT * EXCEPT (manager) REPLACE (upper(country) AS country) FROM silver.authors",
            lineage: &[
                "from authors",
                "handle <- =authors.handle",
                "country <- ~authors.country",
                "followers <- =authors.followers",
            ],
        },
        Shape {
            name: "filter, sort and limit",
            sql: "SELECT body FROM silver.posts WHERE brand = 'a' AND likes > 3 ORDER BY posted_at DESC, body LIMIT 5",
            lineage: &[
                "from posts",
                "body <- =posts.body",
                "filter posts.brand, posts.likes",
                "sort posts.body, posts.posted_at",
            ],
        },
        Shape {
            name: "sort by an output name that hides a column",
            sql: "SELECT author AS body FROM silver.posts ORDER BY body",
            lineage: &["from posts", "body <- =posts.author", "sort posts.author"],
        },
        Shape {
            name: "two sources of one value, one of them twice",
            sql: "SELECT author || ': ' || body || author AS line FROM silver.posts",
            lineage: &["from posts", "line <- ~posts.author ~posts.body"],
        },
        Shape {
            name: "conditions decide, results arrive",
            sql: "SELECT CASE WHEN likes > 9 THEN body WHEN brand IS NULL THEN author ELSE 'none' END AS v, \
                  CASE brand WHEN 'a' THEN 1 ELSE 0 END AS w FROM silver.posts",
            lineage: &["from posts", "v <- ~posts.author ~posts.body", "w <-", "case posts.brand, posts.likes"],
        },
        Shape {
            name: "a column that decides and arrives",
            sql: "SELECT CASE WHEN likes > 0 THEN likes END AS v FROM silver.posts",
            lineage: &["from posts", "v <- ~posts.likes", "case posts.likes"],
        },
        Shape {
            name: "tests make a new value",
            sql: "SELECT likes IS NULL AS a, likes BETWEEN 1 AND 2 AS b, body LIKE author AS c, \
                  brand IN ('a', author) AS d, NOT (likes > 1) AS e, -likes AS f FROM silver.posts",
            lineage: &[
                "from posts",
                "a <- ~posts.likes",
                "b <- ~posts.likes",
                "c <- ~posts.author ~posts.body",
                "d <- ~posts.author ~posts.brand",
                "e <- ~posts.likes",
                "f <- ~posts.likes",
            ],
        },
        Shape {
            name: "values, table functions and no table at all",
            sql: "SELECT v.a, v.b, s.value, 1 AS one FROM (VALUES (1, 'x'), (2, 'y')) AS v(a, b), generate_series(1, 3) AS s",
            lineage: &["from", "a <-", "b <-", "value <-", "one <-"],
        },
        Shape {
            name: "catalog-qualified name",
            sql: "SELECT handle FROM datafusion.silver.authors",
            lineage: &["from authors", "handle <- =authors.handle"],
        },
        Shape {
            name: "explain traces what it explains",
            sql: "EXPLAIN SELECT handle FROM silver.authors WHERE followers > 1",
            lineage: &["from authors", "handle <- =authors.handle", "filter authors.followers"],
        },
    ])
    .await;
}

#[tokio::test]
async fn joins_name_the_side_each_column_is_from() {
    check(&[
        Shape {
            name: "equal keys and a further condition",
            sql: "SELECT p.body, a.country FROM silver.posts p JOIN silver.authors a \
                  ON a.handle = p.author AND p.likes > a.followers",
            lineage: &[
                "from authors, posts",
                "body <- =posts.body",
                "country <- =authors.country",
                "join authors.followers, authors.handle, posts.author, posts.likes",
            ],
        },
        Shape {
            name: "self join",
            sql: "SELECT a.handle, m.handle AS boss, a.followers - m.followers AS gap \
                  FROM silver.authors a LEFT JOIN silver.authors m ON a.manager = m.handle",
            lineage: &[
                "from authors",
                "handle <- =authors.handle",
                "boss <- =authors.handle",
                "gap <- ~authors.followers",
                "join authors.handle, authors.manager",
            ],
        },
        Shape {
            name: "using",
            sql: "SELECT brand, parent, likes FROM silver.posts JOIN silver.brands USING (brand)",
            lineage: &[
                "from brands, posts",
                "brand <- =posts.brand",
                "parent <- =brands.parent",
                "likes <- =posts.likes",
                "join brands.brand, posts.brand",
            ],
        },
        Shape {
            name: "join without condition reads both",
            sql: "SELECT p.body FROM silver.posts p, silver.brands b",
            lineage: &["from brands, posts", "body <- =posts.body"],
        },
        Shape {
            name: "star over a join",
            sql: "SELECT b.*, a.* FROM silver.brands b CROSS JOIN silver.authors a",
            lineage: &[
                "from authors, brands",
                "brand <- =brands.brand",
                "parent <- =brands.parent",
                "handle <- =authors.handle",
                "country <- =authors.country",
                "followers <- =authors.followers",
                "manager <- =authors.manager",
            ],
        },
        Shape {
            name: "semi and anti join",
            sql: "SELECT p.body FROM silver.posts p LEFT SEMI JOIN silver.brands b ON b.brand = p.brand \
                  LEFT ANTI JOIN silver.authors a ON a.handle = p.author",
            lineage: &[
                "from authors, brands, posts",
                "body <- =posts.body",
                "join authors.handle, brands.brand, posts.author, posts.brand",
            ],
        },
    ])
    .await;
}

#[tokio::test]
async fn set_operations_go_by_position() {
    check(&[
        Shape {
            name: "union all of columns with other names",
            sql: "SELECT author AS who, likes AS n FROM silver.posts \
                  UNION ALL SELECT handle, followers + 1 FROM silver.authors",
            lineage: &["from authors, posts", "who <- =authors.handle =posts.author", "n <- ~authors.followers =posts.likes"],
        },
        Shape {
            name: "union groups by all of its columns",
            sql: "SELECT brand FROM silver.posts WHERE likes > 1 UNION SELECT parent FROM silver.brands",
            lineage: &[
                "from brands, posts",
                "brand <- =brands.parent =posts.brand",
                "filter posts.likes",
                "group brands.parent, posts.brand",
            ],
        },
        Shape {
            name: "three branches, one a literal",
            sql: "SELECT 'x' AS a UNION ALL SELECT brand FROM silver.brands UNION ALL SELECT upper(brand) FROM silver.brands",
            lineage: &["from brands", "a <- ~brands.brand"],
        },
        Shape {
            name: "intersect",
            sql: "SELECT brand FROM silver.posts INTERSECT SELECT brand FROM silver.brands",
            lineage: &["from brands, posts", "brand <- =posts.brand", "join brands.brand, posts.brand", "group posts.brand"],
        },
        Shape {
            name: "except all of one table with itself",
            sql: "SELECT brand, parent FROM silver.brands EXCEPT ALL SELECT parent, brand FROM silver.brands",
            lineage: &["from brands", "brand <- =brands.brand", "parent <- =brands.parent", "join brands.brand, brands.parent"],
        },
        Shape {
            name: "distinct",
            sql: "SELECT DISTINCT author, upper(brand) AS b FROM silver.posts",
            lineage: &["from posts", "author <- =posts.author", "b <- ~posts.brand", "group posts.author, posts.brand"],
        },
        Shape {
            name: "distinct on keeps the first in order",
            sql: "SELECT DISTINCT ON (author) author, body FROM silver.posts ORDER BY author, posted_at DESC",
            lineage: &[
                "from posts",
                "author <- =posts.author",
                "body <- =posts.body",
                "group posts.author",
                "sort posts.author, posts.posted_at",
            ],
        },
    ])
    .await;
}

#[tokio::test]
async fn ctes_are_looked_through() {
    check(&[
        Shape {
            name: "chain of three",
            sql: "WITH a AS (SELECT post_id, likes * 2 AS n, brand FROM silver.posts), \
                  b AS (SELECT brand AS g, n, post_id FROM a WHERE post_id <> ''), \
                  c AS (SELECT g, sum(n) AS total FROM b GROUP BY g) \
                  SELECT total AS t, g FROM c",
            lineage: &["from posts", "t <- #posts.likes", "g <- =posts.brand", "filter posts.post_id", "group posts.brand"],
        },
        Shape {
            name: "names swapped on the way",
            sql: "WITH a(author, body) AS (SELECT body, author FROM silver.posts) SELECT author, body FROM a",
            lineage: &["from posts", "author <- =posts.body", "body <- =posts.author"],
        },
        Shape {
            name: "what nobody selects leaves no trace",
            sql: "WITH a AS (SELECT author, CASE WHEN likes > 1 THEN body END AS x, \
                  row_number() OVER (PARTITION BY brand) AS y, (SELECT max(parent) FROM silver.brands) AS z \
                  FROM silver.posts) SELECT author FROM a",
            lineage: &["from brands, posts", "author <- =posts.author"],
        },
        Shape {
            name: "a CTE that takes the name of a table",
            sql: "WITH posts AS (SELECT handle AS body FROM silver.authors) SELECT body FROM posts",
            lineage: &["from authors", "body <- =authors.handle"],
        },
        Shape {
            name: "a CTE that takes the full name of a table",
            sql: "WITH \"silver.posts\" AS (SELECT handle AS body FROM silver.authors) SELECT body FROM silver.posts",
            lineage: &["from authors", "body <- =authors.handle"],
        },
        Shape {
            name: "recursive: the walk up a tree",
            sql: "WITH RECURSIVE up AS (SELECT handle AS h, manager AS m, 1 AS depth FROM silver.authors \
                  UNION ALL SELECT a.handle, up.m, up.depth + 1 FROM up JOIN silver.authors a ON a.manager = up.h) \
                  SELECT h, m, depth FROM up",
            lineage: &[
                "from authors",
                "h <- =authors.handle",
                "m <- =authors.manager",
                "depth <-",
                "join authors.handle, authors.manager",
            ],
        },
        Shape {
            name: "recursive: a source that needs two rounds",
            sql: "WITH RECURSIVE r AS (SELECT brand AS a, parent AS b, 'x' AS c FROM silver.brands \
                  UNION ALL SELECT r.b, r.c, upper(r.a) FROM r WHERE r.c <> 'y') SELECT a, b, c FROM r",
            lineage: &[
                "from brands",
                "a <- ~brands.brand ~brands.parent",
                "b <- ~brands.brand ~brands.parent",
                "c <- ~brands.brand ~brands.parent",
                "filter brands.brand, brands.parent",
            ],
        },
        Shape {
            name: "recursive: its name is also a table's",
            sql: "WITH RECURSIVE brands AS (SELECT parent AS p FROM silver.brands \
                  UNION SELECT b.parent FROM brands JOIN silver.brands b ON b.brand = brands.p) SELECT p FROM brands",
            lineage: &["from brands", "p <- =brands.parent", "join brands.brand, brands.parent", "group brands.parent"],
        },
    ])
    .await;
}

#[tokio::test]
async fn views_are_looked_through() {
    let session = session();
    let view = "CREATE VIEW loud AS SELECT upper(body) AS shout, author FROM silver.posts WHERE likes > 10";
    session.sql(view).await.unwrap().collect().await.unwrap();
    let lineage = plan_lineage("gold.out", &plan(&session, "SELECT l.shout AS s FROM loud l WHERE author <> ''").await);
    assert_eq!(render(&lineage), ["from posts", "s <- ~posts.body", "filter posts.author, posts.likes"]);
}

#[test]
fn a_filter_inside_a_scan_counts_though_its_column_is_not_read() {
    let [(_, posts), ..] = tables();
    let body = posts.index_of("body").unwrap();
    let source = provider_as_source(Arc::new(EmptyTable::new(Arc::new(posts))));
    let filters = vec![col("likes").gt(lit(1))];
    let scan = LogicalPlanBuilder::scan_with_filters("silver.posts", source, Some(vec![body]), filters).unwrap();
    let lineage = plan_lineage("gold.out", &scan.build().unwrap());
    assert_eq!(render(&lineage), ["from posts", "body <- =posts.body", "filter posts.likes"]);
}

/// An operator of an engine that this module has never heard of.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Foreign {
    input: LogicalPlan,
    schema: DFSchemaRef,
}

impl PartialOrd for Foreign {
    fn partial_cmp(&self, _other: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for Foreign {
    fn name(&self) -> &str {
        "Foreign"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, _inputs: Vec<LogicalPlan>) -> Result<Self> {
        unreachable!("nothing rewrites the plan")
    }
}

#[tokio::test]
async fn an_unknown_operator_goes_by_name_and_else_by_everything() {
    let input = plan(&session(), "SELECT brand, parent FROM silver.brands WHERE brand <> ''").await;
    let fields = ["parent", "made_up"].map(|name| Field::new(name, DataType::Utf8, true));
    let schema = DFSchema::from_unqualified_fields(fields.into_iter().collect(), HashMap::new()).unwrap();
    let node = Foreign { input, schema: Arc::new(schema) };
    let lineage = plan_lineage("gold.out", &LogicalPlan::Extension(Extension { node: Arc::new(node) }));
    let expected = ["from brands", "parent <- =brands.parent", "made_up <- ~brands.brand ~brands.parent", "filter brands.brand"];
    assert_eq!(render(&lineage), expected);
}

#[tokio::test]
async fn a_union_of_hundreds_fits_the_stack() {
    let branches = vec!["SELECT brand FROM silver.brands"; 300].join(" UNION ALL ");
    let lineage = plan_lineage("gold.out", &plan(&session(), &branches).await);
    assert_eq!(render(&lineage), ["from brands", "brand <- =brands.brand"]);
}
