//! Whether a query could be refreshed by groups, told from its plan alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::LogicalPlan;

use super::refusal::Refusal;
use super::witness::{ChangedRows, Witness, table_name};
use crate::pipeline::{CompiledGold, TableName, planning_context};

/// The columns that tell which groups of `table` a change to `inputs` touches.
///
/// # Errors
/// [`Refusal::Refused`] when its query has to be computed in full.
pub fn forecast(table: &CompiledGold, inputs: &BTreeSet<TableName>) -> Result<Vec<String>, Refusal> {
    let state = planning_context().state();
    let plan = state.analyzer().execute_and_check(table.plan.clone(), state.config_options(), |_, _| {})?;
    let changed: BTreeMap<TableName, ChangedRows> = scanned(&plan)?
        .into_iter()
        .filter(|(name, _)| inputs.contains(name))
        .map(|(name, schema)| {
            let none: Arc<dyn TableProvider> = Arc::new(EmptyTable::new(schema));
            (name, ChangedRows { all: none.clone(), gone: Some(none) })
        })
        .collect();
    let keys = Witness::of(&plan, &changed)?.map(|witness| witness.keys(&table.schema)).unwrap_or_default();
    if keys.is_empty() {
        return Err(Refusal::because("no column tells which of its rows a change touches"));
    }
    Ok(keys.into_iter().map(|(_, field)| field.name().clone()).collect())
}

/// The tables that `plan` reads, with their columns.
fn scanned(plan: &LogicalPlan) -> Result<BTreeMap<TableName, SchemaRef>, Refusal> {
    let mut found = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found.extend(table_name(&scan.table_name).map(|name| (name, scan.source.schema())));
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}
