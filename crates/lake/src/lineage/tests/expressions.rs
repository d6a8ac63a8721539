//! Single expressions, and the SQL that is told with a source.

use datafusion::common::DFSchema;
use datafusion::prelude::col;

use super::{plan, plan_lineage, session, tables};
use crate::lineage::model::{ColumnRef, DirectSource, IndirectKind, IndirectSource, SourceKind};
use crate::lineage::{ExpressionLineage, expr_lineage};

fn lineage_of(sql: &str) -> ExpressionLineage {
    let [(_, posts), ..] = tables();
    let schema = DFSchema::try_from(posts).unwrap();
    let expr = session().parse_sql_expr(sql, &schema).unwrap();
    expr_lineage(&expr, "bronze.posts")
}

fn column(name: &str) -> ColumnRef {
    ColumnRef { dataset: "bronze.posts".to_owned(), column: name.to_owned() }
}

fn direct(name: &str, kind: SourceKind, expression: Option<&str>) -> DirectSource {
    DirectSource { source: column(name), kind, expression: expression.map(str::to_owned) }
}

#[test]
fn a_bare_column_is_an_identity_without_sql() {
    assert_eq!(lineage_of("body").sources, [direct("body", SourceKind::Identity, None)]);
    assert_eq!(lineage_of("\"user\"['home']['city']").sources, [direct("user.home.city", SourceKind::Identity, None)]);
}

#[test]
fn an_expression_tells_its_sql_with_each_source() {
    let lineage = lineage_of("concat(author, body)");
    let sql = Some("concat(author, body)");
    let expected = [direct("author", SourceKind::Transformation, sql), direct("body", SourceKind::Transformation, sql)];
    assert_eq!(lineage.sources, expected);
    assert_eq!(lineage.indirect, []);
}

#[test]
fn a_condition_of_a_case_is_indirect() {
    let lineage = lineage_of("CASE WHEN likes > 1 THEN body END");
    assert_eq!(lineage.sources.len(), 1);
    assert_eq!(lineage.indirect, [IndirectSource { source: column("likes"), kind: IndirectKind::Conditional }]);
}

#[test]
fn a_filter_has_only_indirect_sources() {
    let filter = lineage_of("likes > 1 AND CASE WHEN brand = 'a' THEN body = '' ELSE false END");
    let expected = [("body", IndirectKind::Filter), ("brand", IndirectKind::Conditional), ("likes", IndirectKind::Filter)];
    let expected = expected.map(|(name, kind)| IndirectSource { source: column(name), kind });
    assert_eq!(filter.into_indirect(IndirectKind::Filter), expected);
}

#[test]
fn an_expression_of_any_depth_fits_the_stack() {
    let deep = (0..20_000).fold(col("likes"), |sum, _| sum + col("likes"));
    assert_eq!(expr_lineage(&deep, "bronze.posts").sources, [direct("likes", SourceKind::Transformation, None)]);
    // Dropping it is what would overflow.
    std::mem::forget(deep);
}

#[test]
fn a_literal_has_no_source() {
    assert_eq!(lineage_of("'x' || 1"), ExpressionLineage::default());
}

async fn sql_of(sql: &str) -> Vec<String> {
    let lineage = plan_lineage("gold.out", &plan(&session(), sql).await);
    let told = |direct: &DirectSource| format!("{}: {}", direct.source.column, direct.expression.as_deref().unwrap_or("-"));
    lineage.columns.iter().flat_map(|column| column.sources.iter().map(told)).collect()
}

#[tokio::test]
async fn the_sql_of_a_source_is_told_in_source_columns() {
    let chained = "WITH a AS (SELECT likes * 2 AS n, brand FROM silver.posts), \
                   b AS (SELECT brand, sum(n) AS total FROM a GROUP BY brand) SELECT total + 1 AS t, brand FROM b";
    assert_eq!(sql_of(chained).await, ["likes: sum(likes * 2) + 1", "brand: -"]);
}

#[tokio::test]
async fn the_sql_is_qualified_where_two_tables_meet() {
    let joined = "SELECT p.likes + a.followers AS n FROM silver.posts p JOIN silver.authors a ON a.handle = p.author";
    let sql = "silver.posts.likes + silver.authors.followers";
    assert_eq!(sql_of(joined).await, [format!("followers: {sql}"), format!("likes: {sql}")]);
}

#[tokio::test]
async fn each_branch_of_a_union_tells_its_own_sql() {
    let union = "SELECT upper(brand) AS b FROM silver.posts UNION ALL SELECT lower(parent) FROM silver.brands";
    assert_eq!(sql_of(union).await, ["parent: lower(parent)", "brand: upper(brand)"]);
}

#[tokio::test]
async fn an_expression_that_doubles_at_every_step_stays_short() {
    let mut sql = "WITH c0 AS (SELECT likes AS n FROM silver.posts)".to_owned();
    for step in 1..40 {
        sql += &format!(", c{step} AS (SELECT n + n AS n FROM c{})", step - 1);
    }
    let told = sql_of(&format!("{sql} SELECT n FROM c39")).await;
    assert!(told.len() == 1 && told[0].len() < 2_100, "{} sources, {} characters", told.len(), told[0].len());
}
