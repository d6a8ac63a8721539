//! Exact column lineage, read from the plan that ran.
//!
//! The unoptimised `LogicalPlan` says it best: CTEs and views are inlined, every name is resolved, and nothing has
//! been folded away yet. The vocabulary is OpenLineage's: a source is direct (its value arrives, as it is, transformed
//! or aggregated) or indirect (it decides which rows there are, or which value is taken).
//!
//! These are the decisions where SQL leaves room:
//! - only what reaches the output counts: the window, `CASE` or subquery behind a column nobody selects leaves no trace;
//! - the conditions of a `CASE` are indirect, its results direct;
//! - a field of a struct is a column of its own (`user.name`), also through CTEs, `named_struct` and `unnest`;
//! - the elements of an unnested list are a transformation of the list;
//! - a cast is a transformation, also one between like types;
//! - `DISTINCT` groups by all its columns, as the equal `GROUP BY` would; `INTERSECT` and `EXCEPT` join on theirs;
//! - a scalar subquery brings its value as the equal join would;
//! - the select list of an `EXISTS` has no influence; the one column of an `IN` list is indirect;
//! - `count(*)`, `row_number()` and literals have no direct source.

mod expression;
pub mod model;
mod origin;
mod relation;
mod scope;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;

use datafusion::logical_expr::{Expr, LogicalPlan};

use self::model::{ColumnLineage, DirectSource, IndirectKind, IndirectSource, TableLineage};
use self::origin::{Influence, Origin};
use self::relation::Tracer;
use self::scope::Scope;

/// The lineage of the table `output` that `plan` computes. The plan must not have been optimised.
///
/// A scanned table is named by its reference without the catalog, so `silver.posts` in the SQL gives the dataset
/// `silver.posts`. `sql`, `run_id` and `version` are for the caller to fill in.
pub fn plan_lineage(output: &str, plan: &LogicalPlan) -> TableLineage {
    let query = query_of(plan);
    let mut tracer = Tracer::default();
    let relation = tracer.relation(query, None);
    let influences = relation.rows.into_iter().chain(relation.columns.iter().flat_map(|column| column.influences.clone()));
    let indirect = indirect_sources(influences.collect());
    let names = query.schema().fields().iter().map(|field| field.name().clone());
    let columns =
        names.zip(relation.columns).map(|(column, origin)| ColumnLineage { column, sources: direct_sources(origin) }).collect();
    TableLineage {
        output: output.to_owned(),
        inputs: tracer.datasets.into_iter().collect(),
        columns,
        indirect,
        sql: None,
        run_id: None,
        version: None,
    }
}

/// The lineage of one expression.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpressionLineage {
    /// The columns whose value reaches the result, each once, in order.
    pub sources: Vec<DirectSource>,
    /// The columns that only decide on the result, each once, in order.
    pub indirect: Vec<IndirectSource>,
}

impl ExpressionLineage {
    /// The same expression where it only decides, as a filter or a sort key does: every source becomes one of `kind`.
    #[must_use]
    pub fn into_indirect(self, kind: IndirectKind) -> Vec<IndirectSource> {
        let decided = self.sources.into_iter().map(|direct| IndirectSource { source: direct.source, kind });
        let all: BTreeSet<_> = decided.chain(self.indirect).collect();
        all.into_iter().collect()
    }
}

/// The lineage of `expr` over the rows of one `dataset`; every column it names is one of that dataset.
pub fn expr_lineage(expr: &Expr, dataset: &str) -> ExpressionLineage {
    let mut origin = Tracer::default().item(expr, &Scope::dataset(dataset));
    let indirect = indirect_sources(std::mem::take(&mut origin.influences));
    ExpressionLineage { sources: direct_sources(origin), indirect }
}

/// The query inside of a statement that stores or explains its result.
fn query_of(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Dml(write) => query_of(&write.input),
        LogicalPlan::Copy(copy) => query_of(&copy.input),
        LogicalPlan::Explain(explain) => query_of(&explain.plan),
        LogicalPlan::Analyze(analyze) => query_of(&analyze.input),
        query => query,
    }
}

fn direct_sources(mut origin: Origin) -> Vec<DirectSource> {
    origin.settle();
    let sources = origin.sources.into_iter();
    sources.map(|(source, reach)| DirectSource { source, kind: reach.kind, expression: reach.expression }).collect()
}

fn indirect_sources(influences: BTreeSet<Influence>) -> Vec<IndirectSource> {
    influences.into_iter().map(|(source, kind)| IndirectSource { source, kind }).collect()
}
