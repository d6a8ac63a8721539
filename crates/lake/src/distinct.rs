//! Distinct aggregates that can spill: each is computed by grouping, and their results are joined.

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullEquality, Result};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, JoinType, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Aggregates whose result does not depend on the order of rows.
const ORDERLESS: [&str; 5] = ["count", "sum", "min", "max", "avg"];

/// Parts `count(DISTINCT x), count(DISTINCT y), sum(z) GROUP BY g` into one aggregate for each distinct argument and one for the rest, joined on
/// `g`. An operator that holds the sets of all groups cannot spill them; one that groups by `g` and `x` can, and the library rewrites the
/// parted aggregates to that.
#[derive(Debug)]
pub(crate) struct PartDistinctAggregates {
    /// Inputs of fewer bytes are left as they are: reading them once is faster.
    pub(crate) least_bytes: usize,
}

impl OptimizerRule for PartDistinctAggregates {
    fn name(&self) -> &'static str {
        "part_distinct_aggregates"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
        if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Ok(Transformed::no(plan));
        }
        let Some(parts) = parts_of(&aggregate.aggr_expr) else { return Ok(Transformed::no(plan)) };
        if !is_repeatable(&aggregate.input)? || bytes_of(&aggregate.input)? < self.least_bytes {
            return Ok(Transformed::no(plan));
        }
        parted(aggregate, &parts).map(Transformed::yes)
    }
}

/// The places of the aggregates that are computed together; `None` when there is nothing to part.
fn parts_of(aggregates: &[Expr]) -> Option<Vec<Vec<usize>>> {
    let mut rest = vec![];
    let mut distinct: Vec<(&Expr, Vec<usize>)> = vec![];
    for (place, aggregate) in aggregates.iter().enumerate() {
        let Expr::AggregateFunction(function) = aggregate else { return None };
        match distinct_argument(function) {
            None => rest.push(place),
            Some(argument) => match distinct.iter_mut().find(|(a, _)| *a == argument) {
                Some((_, places)) => places.push(place),
                None => distinct.push((argument, vec![place])),
            },
        }
    }
    // The library does without help when all aggregates are distinct in the same argument.
    let parts: Vec<_> = distinct.into_iter().map(|(_, places)| places).collect();
    let alone = parts.len() == 1 && rest.is_empty();
    (!parts.is_empty() && !alone).then(|| (!rest.is_empty()).then_some(rest).into_iter().chain(parts).collect())
}

fn distinct_argument(function: &AggregateFunction) -> Option<&Expr> {
    let plain = function.params.filter.is_none() && function.params.order_by.is_empty();
    match function.params.args.as_slice() {
        [argument] if plain && function.params.distinct && ORDERLESS.contains(&function.func.name()) => Some(argument),
        _ => None,
    }
}

/// Whether a plan gives the same rows each time it runs.
fn is_repeatable(plan: &LogicalPlan) -> Result<bool> {
    let mut repeatable = true;
    plan.apply(|node| {
        repeatable &= match node {
            LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
            LogicalPlan::Aggregate(a) => a.aggr_expr.iter().all(is_orderless),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::EmptyRelation(_) => true,
            _ => false,
        };
        node.apply_expressions(|e| {
            repeatable &= !e.is_volatile();
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(repeatable)
}

fn is_orderless(aggregate: &Expr) -> bool {
    matches!(aggregate, Expr::AggregateFunction(f) if ORDERLESS.contains(&f.func.name()))
}

/// The bytes of the tables that a plan reads, as they are stored; unknown sizes count as great ones.
fn bytes_of(plan: &LogicalPlan) -> Result<usize> {
    let mut bytes = 0usize;
    plan.apply(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let statistics = source_as_provider(&scan.source).ok().and_then(|p| p.statistics());
            let size = statistics.map(|s| s.total_byte_size);
            bytes = bytes.saturating_add(match size {
                Some(Precision::Exact(size) | Precision::Inexact(size)) => size,
                _ => usize::MAX,
            });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(bytes)
}

fn group_name(place: usize) -> String {
    format!("__lake_group_{place}")
}

fn value_name(place: usize) -> String {
    format!("__lake_value_{place}")
}

fn part_name(part: usize) -> String {
    format!("__lake_part_{part}")
}

fn parted(aggregate: &Aggregate, parts: &[Vec<usize>]) -> Result<LogicalPlan> {
    let groups = aggregate.group_expr.len();
    let mut joined: Option<LogicalPlanBuilder> = None;
    for (number, places) in parts.iter().enumerate() {
        let part = one_part(aggregate, number, places)?;
        let keys = |part: usize| (0..groups).map(|g| column(part, group_name(g))).collect::<Vec<_>>();
        joined = Some(match joined {
            None => LogicalPlanBuilder::from(part),
            Some(left) if groups == 0 => left.cross_join(part)?,
            Some(left) => {
                left.join_detailed(part, JoinType::Inner, (keys(0), keys(number)), None, NullEquality::NullEqualsNull)?
            }
        });
    }
    let plan = joined.map_or_else(|| Ok(aggregate.input.as_ref().clone()), LogicalPlanBuilder::build)?;
    let part_with = |place: usize| parts.iter().position(|places| places.contains(&place)).unwrap_or_default();
    let columns = (0..aggregate.schema.fields().len()).map(|place| {
        let (qualifier, field) = aggregate.schema.qualified_field(place);
        let source = match place.checked_sub(groups) {
            None => column(0, group_name(place)),
            Some(value) => column(part_with(value), value_name(value)),
        };
        Expr::Column(source).alias_qualified(qualifier.cloned(), field.name())
    });
    LogicalPlanBuilder::from(plan).project(columns.collect::<Vec<_>>())?.build()
}

/// The aggregates at `places`, with names that are no others'.
fn one_part(aggregate: &Aggregate, number: usize, places: &[usize]) -> Result<LogicalPlan> {
    let aggregates: Vec<Expr> = places.iter().filter_map(|p| aggregate.aggr_expr.get(*p).cloned()).collect();
    let plan = Aggregate::try_new(aggregate.input.clone(), aggregate.group_expr.clone(), aggregates)?;
    let schema = plan.schema.clone();
    let groups = aggregate.group_expr.len();
    let names = (0..groups).map(group_name).chain(places.iter().map(|p| value_name(*p)));
    let columns = names.enumerate().map(|(i, name)| Expr::Column(Column::from(schema.qualified_field(i))).alias(name));
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(plan)).project(columns.collect::<Vec<_>>())?.alias(part_name(number))?.build()
}

fn column(part: usize, name: String) -> Column {
    Column::new(Some(part_name(part)), name)
}

/// The rules of `before`, with this one ahead of the one that rewrites what it leaves.
pub(crate) fn with_parting(
    mut before: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
    least_bytes: usize,
) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let next = before.iter().position(|r| r.name() == "single_distinct_aggregation_to_group_by").unwrap_or(before.len());
    before.insert(next, Arc::new(PartDistinctAggregates { least_bytes }));
    before
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::optimizer::optimizer::Optimizer;
    use datafusion::prelude::SessionContext;

    use super::*;

    fn session(parting: bool) -> SessionContext {
        let mut state = SessionStateBuilder::new().with_default_features();
        if parting {
            state = state.with_optimizer_rules(with_parting(Optimizer::new().rules, 0));
        }
        let session = SessionContext::new_with_state(state.build());
        let numbers = |modulo: i64, null: i64| (0..200i64).map(move |i| (i % null != 0).then_some(i * 7919 % modulo));
        let text = |modulo: i64, null: i64| numbers(modulo, null).map(|n| n.map(|n| format!("t{n}"))).collect::<StringArray>();
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("g", Arc::new(text(5, 11)) as _, true),
            ("h", Arc::new(numbers(3, 13).collect::<Int64Array>()) as _, true),
            ("x", Arc::new(numbers(17, 7).collect::<Int64Array>()) as _, true),
            ("y", Arc::new(text(23, 9)) as _, true),
        ]);
        session.register_batch("t", batch.unwrap()).unwrap();
        session
    }

    async fn rows(session: &SessionContext, sql: &str) -> String {
        let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    async fn plan(session: &SessionContext, sql: &str) -> String {
        session.sql(sql).await.unwrap().into_optimized_plan().unwrap().to_string()
    }

    #[tokio::test]
    async fn results_are_the_same_as_without_parting() {
        let (plain, parting) = (session(false), session(true));
        for sql in [
            "SELECT g, count(DISTINCT x) AS n, count(*) AS c FROM t GROUP BY g ORDER BY g",
            "SELECT g, h, count(DISTINCT x), count(DISTINCT y), sum(DISTINCT x), sum(x), avg(x) FROM t GROUP BY g, h ORDER BY g, h",
            "SELECT count(DISTINCT x), count(DISTINCT y), count(*) FROM t",
            "SELECT count(DISTINCT x), count(DISTINCT y), count(*) FROM t WHERE x > 1000",
            "SELECT upper(g) AS u, count(DISTINCT x + 1) AS n, max(y) FROM t WHERE h IS NOT NULL GROUP BY upper(g) HAVING count(*) > 3 ORDER BY u",
            "SELECT g, count(DISTINCT a.x), count(DISTINCT b.y), min(b.x) FROM t a JOIN (SELECT x, y FROM t WHERE h = 1) b ON a.x = b.x GROUP BY g ORDER BY g",
        ] {
            assert!(plan(&parting, sql).await.contains("__lake_part_1"), "{sql}");
            assert_eq!(rows(&parting, sql).await, rows(&plain, sql).await, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_twice_or_needs_no_help_stays_as_it_is() {
        let parting = session(true);
        for sql in [
            "SELECT g, count(DISTINCT x) FROM t GROUP BY g",
            "SELECT g, count(*), sum(x) FROM t GROUP BY g",
            "SELECT count(DISTINCT x), count(*) FROM (SELECT x FROM t LIMIT 10)",
            "SELECT count(DISTINCT r), count(*) FROM (SELECT random() AS r FROM t)",
            "SELECT g, count(DISTINCT x) FILTER (WHERE h > 1), count(*) FROM t GROUP BY g",
        ] {
            assert!(!plan(&parting, sql).await.contains("__lake_part_1"), "{sql}");
        }
    }

    #[tokio::test]
    async fn a_small_input_is_read_once() {
        let rules = with_parting(Optimizer::new().rules, usize::MAX);
        let state = SessionStateBuilder::new().with_default_features().with_optimizer_rules(rules).build();
        let session = SessionContext::new_with_state(state);
        let sql = "SELECT count(DISTINCT column1), count(*) FROM (VALUES (1), (2))";
        assert!(!plan(&session, sql).await.contains("__lake_part_1"));
        assert!(plan(&self::session(true), sql).await.contains("__lake_part_1"));
    }
}
