//! Lineage of SQL text against lineage written by hand.

mod aggregates;
mod chain;
mod expressions;
mod nested;
mod relations;
mod subqueries;

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::MemorySchemaProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::model::{ColumnLineage, IndirectKind, SourceKind, TableLineage};
use super::plan_lineage;

/// A statement and its lineage: first the datasets read, then a line for each output column, then one for each kind of
/// influence. `=` marks an identity, `~` a transformation, `#` an aggregation; `silver.` is left out.
struct Shape {
    name: &'static str,
    sql: &'static str,
    lineage: &'static [&'static str],
}

async fn check(shapes: &[Shape]) {
    let session = session();
    let mut wrong = Vec::new();
    for shape in shapes {
        let actual = render(&plan_lineage("gold.out", &plan(&session, shape.sql).await));
        if actual != shape.lineage {
            wrong.push(format!("{}\n expected: {:#?}\n actual: {actual:#?}", shape.name, shape.lineage));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

async fn plan(session: &SessionContext, sql: &str) -> LogicalPlan {
    session.state().create_logical_plan(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn session() -> SessionContext {
    with_tables(SessionContext::new())
}

fn with_tables(session: SessionContext) -> SessionContext {
    let catalog = session.catalog("datafusion").unwrap();
    catalog.register_schema("silver", Arc::new(MemorySchemaProvider::new())).unwrap();
    for (name, schema) in tables() {
        session.register_table(format!("silver.{name}"), Arc::new(EmptyTable::new(Arc::new(schema)))).unwrap();
    }
    session
}

fn tables() -> [(&'static str, Schema); 3] {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Int64, true);
    let list = |name: &str, of: DataType| Field::new(name, DataType::List(Arc::new(Field::new("item", of, true))), true);
    let structure = |name: &str, of: Vec<Field>| Field::new(name, DataType::Struct(of.into()), true);
    let posted_at = Field::new("posted_at", DataType::Timestamp(TimeUnit::Microsecond, None), true);
    let home = structure("home", vec![text("city"), text("zip")]);
    let item = DataType::Struct(vec![text("sku"), number("qty")].into());
    let entries = DataType::Struct(vec![Field::new("key", DataType::Utf8, false), text("value")].into());
    let labels = Field::new("labels", DataType::Map(Arc::new(Field::new("entries", entries, false)), false), true);
    [
        (
            "posts",
            Schema::new(vec![
                text("post_id"),
                text("author"),
                text("brand"),
                text("body"),
                number("likes"),
                posted_at,
                structure("user", vec![text("id"), text("name"), home]),
                list("tags", DataType::Utf8),
                list("items", item),
                labels,
            ]),
        ),
        ("authors", Schema::new(vec![text("handle"), text("country"), number("followers"), text("manager")])),
        ("brands", Schema::new(vec![text("brand"), text("parent")])),
    ]
}

fn render(lineage: &TableLineage) -> Vec<String> {
    let inputs: Vec<&str> = lineage.inputs.iter().map(|input| short(input)).collect();
    let mut lines = vec![format!("from {}", inputs.join(", ")).trim_end().to_owned()];
    lines.extend(lineage.columns.iter().map(render_column));
    let kinds = [
        (IndirectKind::Filter, "filter"),
        (IndirectKind::Join, "join"),
        (IndirectKind::GroupBy, "group"),
        (IndirectKind::Sort, "sort"),
        (IndirectKind::Window, "window"),
        (IndirectKind::Conditional, "case"),
        (IndirectKind::Subquery, "subquery"),
    ];
    for (kind, label) in kinds {
        let columns: Vec<String> = lineage
            .indirect
            .iter()
            .filter(|indirect| indirect.kind == kind)
            .map(|indirect| format!("{}.{}", short(&indirect.source.dataset), indirect.source.column))
            .collect();
        if !columns.is_empty() {
            lines.push(format!("{label} {}", columns.join(", ")));
        }
    }
    lines
}

fn render_column(column: &ColumnLineage) -> String {
    let source = |direct: &super::model::DirectSource| {
        let mark = match direct.kind {
            SourceKind::Identity => '=',
            SourceKind::Transformation => '~',
            SourceKind::Aggregation => '#',
        };
        format!(" {mark}{}.{}", short(&direct.source.dataset), direct.source.column)
    };
    format!("{} <-{}", column.column, column.sources.iter().map(source).collect::<Vec<_>>().join(""))
}

fn short(dataset: &str) -> &str {
    dataset.strip_prefix("silver.").unwrap_or(dataset)
}
