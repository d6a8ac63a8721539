//! Pipeline and schemas to a typed plan: every finding about tables, columns, types and SQL, in one go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SessionContext;
use sha2::{Digest, Sha256};

use super::gold::compile_gold;
use super::graph::{self, Resolved, TableGraph};
use super::model::{BronzeTable, Otherwise, Pipeline, TableName, WorkspaceSpec};
use super::name::{ORIGIN_COLUMNS, did_you_mean};
use super::nodes::{CompiledGraph, compile_graph};
use super::session::{function_names, planning_context};
use super::silver::compile_silver;
use super::vectors::{CompiledVectors, compile_vectors};
use crate::WORKSPACE_COLUMN;
use crate::diagnostic::{Diagnostic, Severity, Source, Span, Spanned};

/// An entity of the ontology, as far as the columns of a silver table depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityType {
    /// The entity's name.
    pub name: String,
    /// Name, type and whether a value is required, in the order of the entity.
    pub columns: Vec<(String, DataType, bool)>,
    /// The attributes that name one of its instances.
    pub key: Vec<String>,
}

/// What is known of a bronze table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BronzeSchema {
    /// The delivered columns, then `workspace_id` and [`ORIGIN_COLUMNS`](super::ORIGIN_COLUMNS).
    pub schema: SchemaRef,
    /// Whether these are all columns; when only a sample was seen, there may be more.
    pub complete: bool,
}

/// What a pipeline is compiled against.
#[derive(Debug, Clone, Copy)]
pub struct CompileInput<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// The entities of the pinned ontology version.
    pub entities: &'a [EntityType],
    /// The schema of each bronze table of the pipeline.
    pub bronze: &'a BTreeMap<TableName, BronzeSchema>,
    /// Tables that are in the lake and that this pipeline does not build, which gold may read.
    pub existing: &'a BTreeMap<TableName, SchemaRef>,
}

/// A pipeline whose tables, columns, types and SQL fit together.
#[derive(Debug, Clone)]
pub struct CompiledPipeline {
    /// The pipeline as it was read.
    pub pipeline: Arc<Pipeline>,
    /// Every table, each after all that it reads.
    pub order: Vec<TableName>,
    /// What reads what.
    pub graph: TableGraph,
    /// Every silver table.
    pub silver: BTreeMap<TableName, CompiledSilver>,
    /// Every gold table.
    pub gold: BTreeMap<TableName, CompiledGold>,
    /// Every vector table.
    pub vectors: BTreeMap<TableName, CompiledVectors>,
    /// The graph, if there is one.
    pub property_graph: Option<CompiledGraph>,
    /// Findings that do not keep the pipeline from running, in the order of the file.
    pub warnings: Vec<Diagnostic>,
}

impl CompiledPipeline {
    /// What `table` reads, each once.
    pub fn inputs(&self, table: &TableName) -> Vec<TableName> {
        self.graph.inputs(table).to_vec()
    }

    /// A table that a query makes: one of gold, or one of the graph's.
    pub fn by_query(&self, table: &TableName) -> Option<&CompiledGold> {
        let graph = || self.property_graph.iter().flat_map(|g| std::iter::once(&g.nodes).chain(&g.edges));
        self.gold.get(table).or_else(|| graph().find(|g| g.name == *table))
    }

    /// The tables that any of `patterns` names: see [`TableGraph::select`].
    ///
    /// # Errors
    /// As [`TableGraph::select`].
    pub fn select(&self, patterns: &[String]) -> crate::Result<Vec<TableName>> {
        self.graph.select(patterns)
    }
}

/// A column of a silver table.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputColumn {
    /// Its name in the table.
    pub name: String,
    /// Over the source schema, before the cast to `data_type`.
    pub expr: Expr,
    /// The type that the table stores; the type of `expr` can be cast to it.
    pub data_type: DataType,
    /// A row with null here is quarantined.
    pub required: bool,
}

/// An expectation of a silver table.
#[derive(Debug, Clone, PartialEq)]
pub struct CompiledExpectation {
    /// Its name.
    pub name: String,
    /// A condition over the check schema.
    pub expr: Expr,
    /// What becomes of a row for which it is false or null.
    pub otherwise: Otherwise,
}

/// A silver table, ready to be built. Columns in expressions have no table, and types are coerced when the expression is planned.
#[derive(Debug, Clone)]
pub struct CompiledSilver {
    /// The table.
    pub name: TableName,
    /// The bronze table it reads.
    pub input: TableName,
    /// The columns of the input.
    pub source_schema: SchemaRef,
    /// The columns of the table, without `workspace_id`.
    pub columns: Vec<OutputColumn>,
    /// Over the source schema: rows for which it does not hold are dropped.
    pub filter: Option<Expr>,
    /// Over the source schema: rows for which it holds delete their key.
    pub delete_when: Option<Expr>,
    /// Indexes into `columns`; empty when every row stays.
    pub key: Vec<usize>,
    /// The output columns with their types, then the source columns whose name no output column has.
    pub check_schema: SchemaRef,
    /// Over the check schema: of the rows of a key, the one with the greatest value wins.
    pub sequence_by: Option<Expr>,
    /// Whether rows may be marked as deleted, beside their files. The rows are the same either way.
    pub merge_on_read: bool,
    /// In the order of the file.
    pub expectations: Vec<CompiledExpectation>,
    /// A hash, not negative, of everything that determines the rows.
    pub fingerprint: i64,
}

impl CompiledSilver {
    /// The columns of the table as they are stored, without `workspace_id`. A required column is not nullable.
    pub fn schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), !c.required));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// A gold table, ready to be built.
#[derive(Debug, Clone)]
pub struct CompiledGold {
    /// The table.
    pub name: TableName,
    /// What it reads, each table once.
    pub inputs: Vec<TableName>,
    /// The query as written, with a column named `user` in quotes.
    pub sql: String,
    /// The columns as they are stored, without `workspace_id`. The query's columns can be cast to these types.
    pub schema: SchemaRef,
    /// The plan over empty tables, neither analysed nor optimised: what lineage is read from.
    pub plan: LogicalPlan,
    /// A hash, not negative, of everything that determines the rows but the inputs' rows.
    pub fingerprint: i64,
}

/// Plans every table of the pipeline.
///
/// # Errors
/// All findings, in the order of the file. A table that reads a broken table adds none on that account.
pub fn compile(input: &CompileInput<'_>) -> Result<CompiledPipeline, Vec<Diagnostic>> {
    let pipeline = input.pipeline;
    let existing: BTreeSet<TableName> = input.existing.keys().cloned().collect();
    let Resolved { graph, queries, broken, diagnostics } = graph::resolve(pipeline, &existing);
    let mut planner = Planner::new(&pipeline.source, diagnostics);
    planner.register_existing(input.existing);
    planner.bronze(input);

    let mut silver = BTreeMap::new();
    for table in pipeline.silver.iter().filter(|t| !broken.contains(&t.name.value)) {
        let Some(source) = input.bronze.get(&table.from.value) else { continue };
        let outcome = compile_silver(&mut planner, table, source, input);
        if let Some(schema) = outcome.schema {
            planner.register(&table.name.value, &schema);
        }
        silver.extend(outcome.compiled.map(|c| (table.name.value.clone(), c)));
    }

    let mut gold = BTreeMap::new();
    for name in graph.order() {
        let Some((table, query)) = pipeline.gold.iter().find(|t| t.name.value == *name).zip(queries.get(name)) else { continue };
        if broken.contains(name) || !graph.inputs(name).iter().all(|i| planner.is_registered(i)) {
            continue;
        }
        if let Some(compiled) = compile_gold(&mut planner, table, query, graph.inputs(name), sampled(input, graph.inputs(name))) {
            planner.register(name, &compiled.schema);
            gold.insert(name.clone(), compiled);
        }
    }

    let schemas: BTreeMap<TableName, SchemaRef> = silver
        .iter()
        .map(|(name, table)| (name.clone(), table.schema()))
        .chain(gold.iter().map(|(name, table)| (name.clone(), table.schema.clone())))
        .chain(input.existing.iter().map(|(name, schema)| (name.clone(), schema.clone())))
        .collect();
    let mut vectors = BTreeMap::new();
    for table in pipeline.vectors.iter().filter(|t| !broken.contains(&t.name.value)) {
        let Some(schema) = schemas.get(&table.from.value) else { continue };
        let key = silver.get(&table.from.value).map(key_of).unwrap_or_default();
        if let Some(compiled) = compile_vectors(&mut planner, table, schema, &key) {
            vectors.insert(table.name.value.clone(), compiled);
        }
    }
    let property_graph = match pipeline.graph.is_empty() {
        true => None,
        false => compile_graph(&mut planner, pipeline, &schemas),
    };

    let warnings = planner.finish()?;
    let order = graph.order().to_vec();
    Ok(CompiledPipeline { pipeline: Arc::new(pipeline.clone()), order, graph, silver, gold, vectors, property_graph, warnings })
}

/// The names of a silver table's key columns.
fn key_of(table: &CompiledSilver) -> Vec<String> {
    table.key.iter().filter_map(|at| table.columns.get(*at)).map(|c| c.name.clone()).collect()
}

/// A planning session and the findings so far.
pub(super) struct Planner<'a> {
    pub(super) source: &'a Arc<Source>,
    pub(super) state: SessionState,
    pub(super) functions: BTreeSet<String>,
    pub(super) diagnostics: Vec<Diagnostic>,
    context: SessionContext,
    registered: BTreeSet<TableName>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(source: &'a Arc<Source>, diagnostics: Vec<Diagnostic>) -> Self {
        let context = planning_context();
        let state = context.state();
        let functions = function_names(&state);
        Self { source, state, functions, diagnostics, context, registered: BTreeSet::new() }
    }

    pub(super) fn error(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: Option<String>) {
        let diagnostic = Diagnostic::error(code, self.source, span, message);
        self.diagnostics.push(Diagnostic { help, ..diagnostic });
    }

    /// How many errors there are, to see whether a table has added one.
    pub(super) fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == Severity::Error).count()
    }

    fn is_registered(&self, table: &TableName) -> bool {
        self.registered.contains(table)
    }

    /// Makes a table known to gold queries: its columns and `workspace_id`.
    fn register(&mut self, table: &TableName, schema: &SchemaRef) {
        let mut fields: Vec<Arc<Field>> = schema.fields().iter().filter(|f| f.name() != WORKSPACE_COLUMN).cloned().collect();
        fields.push(Arc::new(Field::new(WORKSPACE_COLUMN, DataType::Utf8, false)));
        let provider = Arc::new(EmptyTable::new(Arc::new(Schema::new(fields))));
        let reference = TableReference::partial(table.layer.as_str(), table.name.as_str());
        // A name that is taken keeps its first table: the pipeline's own come after what is in the lake, so that one makes room.
        let _ = self.context.deregister_table(reference.clone());
        if self.context.register_table(reference, provider).is_ok() {
            self.registered.insert(table.clone());
        }
    }

    fn register_existing(&mut self, existing: &BTreeMap<TableName, SchemaRef>) {
        for (table, schema) in existing {
            self.register(table, schema);
        }
    }

    /// Registers the bronze tables and checks that the workspace column is among theirs.
    fn bronze(&mut self, input: &CompileInput<'_>) {
        for table in &input.pipeline.bronze {
            match input.bronze.get(&table.name.value) {
                Some(found) => {
                    self.register(&table.name.value, &found.schema);
                    if let WorkspaceSpec::Column(column) = &input.pipeline.workspace {
                        self.check_workspace_column(column, table, found);
                    }
                }
                None => {
                    let message = format!("the columns of `{}` are not known", table.name.value);
                    let help = "declare them under `columns:`, or make its data readable";
                    self.error("no-schema", table.name.span, message, Some(help.to_owned()));
                }
            }
        }
    }

    fn check_workspace_column(&mut self, column: &Spanned<String>, table: &BronzeTable, found: &BronzeSchema) {
        let delivered: Vec<&str> =
            found.schema.fields().iter().map(|f| f.name().as_str()).filter(|n| !ORIGIN_COLUMNS.contains(n)).collect();
        if !found.complete || delivered.contains(&column.value.as_str()) {
            return;
        }
        let written = super::origin::as_written(self.source, column).to_owned();
        let message = format!("`{}` has no column `{written}` to take the workspace from", table.name.value);
        let help = did_you_mean(&column.value, delivered);
        self.error("unknown-column", column.span, message, help);
    }

    /// The warnings, or everything when there is an error.
    fn finish(mut self) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        self.diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
        if self.errors() > 0 { Err(self.diagnostics) } else { Ok(self.diagnostics) }
    }
}

/// What to do about a column that is missing from a bronze table of which only a sample was seen.
fn sampled(input: &CompileInput<'_>, inputs: &[TableName]) -> Option<String> {
    let table = inputs.iter().find(|t| input.bronze.get(t).is_some_and(|b| !b.complete))?;
    Some(format!("declare it under `columns:` of `{table}`"))
}

/// A hash of `parts`, in their order, that is never negative.
pub(super) fn fingerprint<'p>(parts: impl IntoIterator<Item = &'p str>) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps `a, bc` apart from `ab, c`.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let prefix = hash.finalize().iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    i64::try_from(prefix >> 1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_depends_on_every_part_and_on_where_it_ends() {
        let one = fingerprint(["a", "bc"]);
        assert!(one >= 0);
        assert_eq!(one, fingerprint(["a", "bc"]));
        assert_ne!(one, fingerprint(["ab", "c"]));
        assert_ne!(one, fingerprint(["a", "bc", ""]));
    }
}
