//! A result kept in step with its inputs, against the query run anew.

mod operators;
mod property;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::*;
use crate::engine::{CATALOG, Engine, EngineOptions};
use crate::pipeline::{Layer, TableName};
use crate::workspace_id::WORKSPACE_COLUMN;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    workspace: &'static str,
    id: i64,
    brand: Option<&'static str>,
    day: Option<i64>,
    amount: Option<i64>,
    product: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Product {
    workspace: &'static str,
    product: Option<i64>,
    name: Option<&'static str>,
    category: Option<&'static str>,
}

trait Row: Clone + Ord {
    const TABLE: &'static str;
    fn workspace(&self) -> &'static str;
    fn batch(rows: &[&Self]) -> RecordBatch;
}

fn numbers(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn texts<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

fn batch_of(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns.iter().map(|(name, values)| Field::new(*name, values.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, values)| values).collect()).unwrap()
}

impl Row for Fact {
    const TABLE: &'static str = "facts";

    fn workspace(&self) -> &'static str {
        self.workspace
    }

    fn batch(rows: &[&Self]) -> RecordBatch {
        batch_of(vec![
            ("id", numbers(rows.iter().map(|r| Some(r.id)))),
            ("brand", texts(rows.iter().map(|r| r.brand))),
            ("day", numbers(rows.iter().map(|r| r.day))),
            ("amount", numbers(rows.iter().map(|r| r.amount))),
            ("product", numbers(rows.iter().map(|r| r.product))),
            (WORKSPACE_COLUMN, texts(rows.iter().map(|r| Some(r.workspace)))),
        ])
    }
}

impl Row for Product {
    const TABLE: &'static str = "products";

    fn workspace(&self) -> &'static str {
        self.workspace
    }

    fn batch(rows: &[&Self]) -> RecordBatch {
        batch_of(vec![
            ("product", numbers(rows.iter().map(|r| r.product))),
            ("name", texts(rows.iter().map(|r| r.name))),
            ("category", texts(rows.iter().map(|r| r.category))),
            (WORKSPACE_COLUMN, texts(rows.iter().map(|r| Some(r.workspace)))),
        ])
    }
}

/// The inputs at a time.
#[derive(Debug, Clone, Default)]
struct State {
    facts: Vec<Fact>,
    products: Vec<Product>,
}

/// Rows of both inputs that came and went.
#[derive(Debug, Clone, Default)]
struct Difference {
    facts: (Vec<Fact>, Vec<Fact>),
    products: (Vec<Product>, Vec<Product>),
}

fn table<R: Row>(rows: &[&R]) -> Arc<dyn TableProvider> {
    let batch = R::batch(rows);
    Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap())
}

fn in_workspace<'r, R: Row>(rows: &'r [R], workspace: Option<&str>) -> Vec<&'r R> {
    rows.iter().filter(|r| workspace.is_none_or(|w| r.workspace() == w)).collect()
}

/// A session over the rows of one workspace, or of all.
fn session(state: &State, workspace: Option<&str>) -> SessionContext {
    let session = Engine::new(EngineOptions { threads: Some(2), ..Default::default() }).unwrap().session();
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema("silver", Arc::new(MemorySchemaProvider::new())).unwrap();
    session.register_catalog(CATALOG, Arc::new(catalog));
    session.register_table("silver.facts", table(&in_workspace(&state.facts, workspace))).unwrap();
    session.register_table("silver.products", table(&in_workspace(&state.products, workspace))).unwrap();
    session
}

async fn analysed(session: &SessionContext, sql: &str) -> LogicalPlan {
    let state = session.state();
    let plan = state.create_logical_plan(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn run(session: &SessionContext, plan: LogicalPlan) -> Vec<RecordBatch> {
    let text = plan.display_indent().to_string();
    session.execute_logical_plan(plan).await.unwrap().collect().await.unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// The rows as sorted lines.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = vec![];
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
        lines.extend(
            (0..batch.num_rows()).map(|i| columns.iter().map(|c| c.value(i).to_string()).collect::<Vec<_>>().join(" | ")),
        );
    }
    lines.sort_unstable();
    lines
}

fn changed_rows<R: Row>(added: &[R], removed: &[R], workspace: Option<&str>) -> Option<(TableName, ChangedRows)> {
    let removed = in_workspace(removed, workspace);
    let all: Vec<&R> = in_workspace(added, workspace).into_iter().chain(removed.iter().copied()).collect();
    let gone = (!removed.is_empty()).then(|| table(&removed));
    (!all.is_empty()).then(|| (TableName::new(Layer::Silver, R::TABLE), ChangedRows { all: table(&all), gone }))
}

fn changed(difference: &Difference, workspace: Option<&str>) -> BTreeMap<TableName, ChangedRows> {
    let facts = changed_rows(&difference.facts.0, &difference.facts.1, workspace);
    let products = changed_rows(&difference.products.0, &difference.products.1, workspace);
    facts.into_iter().chain(products).collect()
}

/// The columns that a query's result is stored with.
fn stored_columns(plan: &LogicalPlan) -> Schema {
    let fields = plan.schema().fields().iter().map(|f| match f.name().as_str() {
        WORKSPACE => Field::new(WORKSPACE_COLUMN, DataType::Utf8, true),
        name => Field::new(name, f.data_type().clone(), true),
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// What a refresh did.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Done {
    /// By these columns; so many groups.
    Refreshed(Vec<String>, usize),
    Nothing,
    Refused(String),
}

/// A stored result.
struct Stored {
    schema: SchemaRef,
    rows: Vec<RecordBatch>,
}

impl Stored {
    /// Computes the result of `plan` in full.
    async fn full(session: &SessionContext, plan: &LogicalPlan) -> Self {
        let schema = Arc::new(stored_columns(plan));
        let rows = run(session, restricted(plan, &schema, None).unwrap()).await;
        Self { schema, rows }
    }

    /// Brings the result up to date as a job does. After a refusal it is as it was.
    async fn refresh(
        &mut self,
        session: &SessionContext,
        plan: &LogicalPlan,
        changed: &BTreeMap<TableName, ChangedRows>,
    ) -> Done {
        let witness = match Witness::of(plan, changed) {
            Ok(Some(witness)) => witness,
            Ok(None) => return Done::Nothing,
            Err(Refusal::Failed(error)) => panic!("{error}"),
            Err(Refusal::Refused(refused)) => return Done::Refused(refused.to_string()),
        };
        let text = witness.plan.display_indent().to_string();
        let groups = match Groups::collect(&session.state(), &witness, &self.schema, usize::MAX, usize::MAX).await {
            Ok(Collected::All(groups)) => groups,
            Ok(Collected::NoColumn) => return Done::Refused("no column".to_owned()),
            Ok(Collected::TooMany) => unreachable!(),
            Err(error) => panic!("{error}\n{text}"),
        };
        let kept: Vec<RecordBatch> = {
            let table = MemTable::try_new(self.schema.clone(), vec![std::mem::take(&mut self.rows)]).unwrap();
            session.read_table(Arc::new(table)).unwrap().filter(groups.holds_not()).unwrap().collect().await.unwrap()
        };
        let fresh = run(session, restricted(plan, &self.schema, Some((&groups, Skipping::ByStatistics))).unwrap()).await;
        self.rows = kept.into_iter().chain(fresh).collect();
        Done::Refreshed(groups.columns().to_vec(), groups.len())
    }
}
