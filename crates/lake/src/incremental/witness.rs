//! Which values the rows of a query's result have that a change to its inputs makes come or go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, JoinType, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, Filter, Join, LogicalPlan, SubqueryAlias, TableScan, TableScanBuilder, Union, Unnest,
    Window,
};
use recursive::recursive;

use super::join::Joiner;
use super::refusal::{Refusal, has_subquery, refuse_unrepeatable};
use super::shape::{column, named, null, projected, united};
use crate::pipeline::{Layer, TableName};

/// More operators than that are not worth running over a few rows: each outer join doubles what is below it.
const MOST_OPERATORS: usize = 500;

/// The rows of an input that changed since the result was computed. More rows than changed are never wrong.
#[derive(Debug, Clone)]
pub struct ChangedRows {
    /// Rows that came and rows that went.
    pub all: Arc<dyn TableProvider>,
    /// Rows that went, when there may be some.
    pub gone: Option<Arc<dyn TableProvider>>,
}

/// A plan over the changed rows. Of every row of the query's result that came or went it yields the values of `known` columns.
#[derive(Debug, Clone)]
pub struct Witness {
    pub(super) plan: LogicalPlan,
    /// By place in the query's columns.
    pub(super) known: Vec<bool>,
}

impl Witness {
    /// Rewrites `query`, an analysed plan. `Ok(None)` when no row of the result can have changed.
    ///
    /// # Errors
    /// [`Refusal::Refused`] when the values cannot be told.
    pub fn of(query: &LogicalPlan, changed: &BTreeMap<TableName, ChangedRows>) -> Result<Option<Self>, Refusal> {
        refuse_unrepeatable(query)?;
        let traced = Tracer { changed }.trace(query)?;
        let Some(rows) = traced.changed else { return Ok(None) };
        let mut operators = 0;
        rows.plan.apply(|_| {
            operators += 1;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if operators > MOST_OPERATORS {
            return Err(Refusal::because("it has too many outer joins"));
        }
        Ok(Some(Self { plan: rows.plan, known: rows.known }))
    }
}

/// Rows with the columns of an operator. The values of columns that are not known mean nothing.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) plan: LogicalPlan,
    /// By place.
    pub(super) known: Vec<bool>,
}

/// What became of an operator's rows between the state of the inputs before and now.
pub(super) struct Traced {
    /// At least all rows of both states.
    pub(super) all: Rows,
    /// At least the rows that are in one of them only, in their known columns; `None` when there are none.
    pub(super) changed: Option<Rows>,
}

struct Tracer<'a> {
    changed: &'a BTreeMap<TableName, ChangedRows>,
}

pub(super) type Outcome = Result<Traced, Refusal>;

impl Tracer<'_> {
    #[recursive]
    fn trace(&self, plan: &LogicalPlan) -> Outcome {
        if !self.reads_changed(plan)? {
            let known = vec![true; plan.schema().fields().len()];
            return Ok(Traced { all: Rows { plan: plan.clone(), known }, changed: None });
        }
        self.refuse_changed_subqueries(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::Projection(node) => self.each(&node.input, |rows| projection(&node.expr, rows, plan.schema())),
            LogicalPlan::Filter(node) => self.each(&node.input, |rows| filter(&node.predicate, rows)),
            LogicalPlan::SubqueryAlias(node) => self.each(&node.input, |rows| {
                let alias = SubqueryAlias::try_new(Arc::new(rows.plan), node.alias.clone())?;
                Ok(Rows { plan: LogicalPlan::SubqueryAlias(alias), known: rows.known })
            }),
            LogicalPlan::Sort(node) => self.trace(&node.input),
            LogicalPlan::Repartition(node) => self.trace(&node.input),
            LogicalPlan::Distinct(Distinct::All(input)) => self.trace(input),
            LogicalPlan::Distinct(Distinct::On(node)) => self.distinct_on(node),
            LogicalPlan::Aggregate(node) => self.aggregate(node),
            LogicalPlan::Window(node) => self.window(node),
            LogicalPlan::Union(node) => self.union(node),
            LogicalPlan::Unnest(node) => self.each(&node.input, |rows| unnest(plan, node, rows)),
            LogicalPlan::Join(node) => self.join(node),
            other => Err(Refusal::because(format!("changes are not followed through {}", operator(other)))),
        }
    }

    /// Traces `input` and applies `rewrite` to both of its sets of rows.
    fn each(&self, input: &LogicalPlan, rewrite: impl Fn(Rows) -> Result<Rows, Refusal>) -> Outcome {
        let input = self.trace(input)?;
        Ok(Traced { all: rewrite(input.all)?, changed: input.changed.map(rewrite).transpose()? })
    }

    fn scan(&self, scan: &TableScan) -> Outcome {
        let rows = table_name(&scan.table_name).and_then(|name| self.changed.get(&name));
        let Some(rows) = rows else { return Err(Refusal::because("a table is read in a way that is not known")) };
        let same = |table: &Arc<dyn TableProvider>| {
            let types = |schema: &arrow::datatypes::Schema| {
                schema.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>()
            };
            types(&table.schema()) == types(&scan.source.schema())
        };
        if !scan.filters.is_empty() || !same(&rows.all) || !rows.gone.iter().all(same) {
            return Err(Refusal::because("the columns of an input changed"));
        }
        let of = |table: &Arc<dyn TableProvider>| {
            let source = provider_as_source(table.clone());
            let scan = TableScanBuilder::new(scan.table_name.clone(), source).with_projection(scan.projection.clone()).build()?;
            Ok::<_, Refusal>(LogicalPlan::TableScan(scan))
        };
        let known = vec![true; scan.projected_schema.fields().len()];
        let now = std::iter::once(Ok(LogicalPlan::TableScan(scan.clone())));
        let all = united(now.chain(rows.gone.iter().map(of)).collect::<Result<_, Refusal>>()?, &scan.projected_schema)?;
        Ok(Traced { all: Rows { plan: all, known: known.clone() }, changed: Some(Rows { plan: of(&rows.all)?, known }) })
    }

    /// A group changes only when a row of it does, so its key is that of a changed row.
    fn aggregate(&self, node: &Aggregate) -> Outcome {
        if node.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Err(Refusal::because("it groups by several sets of columns"));
        }
        let keys = node.group_expr.len();
        self.each(&node.input, |rows| {
            let places = 0..node.schema.fields().len();
            let items = places.map(|place| node.group_expr.get(place).filter(|_| place < keys));
            items_of(items, rows, &node.schema)
        })
    }

    /// A window's value changes only when a row of its partition does: all rows of the partition may then be others, so nothing but
    /// the columns that all windows are partitioned by is known of those that changed.
    fn window(&self, node: &Window) -> Outcome {
        let input = self.trace(&node.input)?;
        let count = node.input.schema().fields().len();
        let partitioned = |place: usize| {
            let own = (place < count).then(|| column(node.input.schema(), place));
            own.is_some_and(|own| {
                node.window_expr.iter().all(|expr| match expr.clone().unalias() {
                    Expr::WindowFunction(call) => call.params.partition_by.contains(&own),
                    _ => false,
                })
            })
        };
        let width = node.schema.fields().len();
        let widened = |rows: Rows| {
            let source = rows.plan.schema().clone();
            let items = (0..width).map(|place| {
                if place < count { Ok(named(column(&source, place), &node.schema, place)) } else { null(&node.schema, place) }
            });
            let items = items.collect::<Result<Vec<_>, _>>()?;
            let known = rows.known.iter().copied().chain(std::iter::repeat(false)).take(width).collect();
            Ok::<_, Refusal>(Rows { plan: projected(items, rows.plan)?, known })
        };
        let changed = input.changed.map(widened).transpose()?.map(|mut rows| {
            for (place, known) in rows.known.iter_mut().enumerate() {
                *known &= partitioned(place);
            }
            rows
        });
        Ok(Traced { all: widened(input.all)?, changed })
    }

    fn distinct_on(&self, node: &DistinctOn) -> Outcome {
        let input = self.trace(&node.input)?;
        let select = |rows: Rows, usable: &dyn Fn(&Expr) -> bool| {
            let items = node.select_expr.iter().map(|e| usable(e).then_some(e));
            items_of(items, rows, &node.schema)
        };
        let keyed = |expr: &Expr| node.on_expr.contains(&expr.clone().unalias());
        Ok(Traced { changed: input.changed.map(|rows| select(rows, &keyed)).transpose()?, all: select(input.all, &|_| true)? })
    }

    fn union(&self, node: &Union) -> Outcome {
        let branches = node.inputs.iter().map(|input| self.trace(input)).collect::<Result<Vec<_>, _>>()?;
        let unite = |rows: Vec<Rows>| {
            let width = node.schema.fields().len();
            let known = (0..width).map(|place| rows.iter().all(|r| r.known.get(place) == Some(&true))).collect();
            let plan = requalified(united(rows.into_iter().map(|r| r.plan).collect(), &node.schema)?, &node.schema)?;
            Ok::<_, Refusal>(Rows { plan, known })
        };
        let (mut all, mut changed) = (vec![], vec![]);
        for branch in branches {
            all.push(branch.all);
            changed.extend(branch.changed);
        }
        Ok(Traced { all: unite(all)?, changed: (!changed.is_empty()).then(|| unite(changed)).transpose()? })
    }

    fn join(&self, node: &Join) -> Outcome {
        if node.null_aware || is_lateral(&node.left)? || is_lateral(&node.right)? {
            return Err(Refusal::because("one side of a join depends on the other"));
        }
        let (left, right) = (self.trace(&node.left)?, self.trace(&node.right)?);
        let joiner = Joiner { node };
        match node.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => joiner.both(&left, &right),
            JoinType::LeftSemi | JoinType::LeftAnti => joiner.one(left, &right, JoinType::LeftSemi),
            JoinType::RightSemi | JoinType::RightAnti => joiner.one(right, &left, JoinType::RightSemi),
            JoinType::LeftMark | JoinType::RightMark => Err(Refusal::because("changes are not followed through a mark join")),
        }
    }

    /// Whether `plan` scans a table that changed, its subqueries included.
    fn reads_changed(&self, plan: &LogicalPlan) -> Result<bool, Refusal> {
        let mut found = false;
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                found |= table_name(&scan.table_name).is_some_and(|name| self.changed.contains_key(&name));
            }
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    }

    /// A subquery in an expression may decide on any row, so the tables that it reads must be the same as before.
    fn refuse_changed_subqueries(&self, plan: &LogicalPlan) -> Result<(), Refusal> {
        let mut found = Ok(());
        plan.apply_subqueries(|subquery| {
            match self.reads_changed(subquery) {
                Ok(false) => {}
                Ok(true) => found = Err(Refusal::because("a subquery reads an input that changed")),
                Err(error) => found = Err(error),
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        found
    }
}

/// One value for each column of `schema`: of the expression where it can be known, else NULL.
fn items_of<'e>(items: impl Iterator<Item = Option<&'e Expr>>, rows: Rows, schema: &DFSchema) -> Result<Rows, Refusal> {
    let source = rows.plan.schema().clone();
    let (mut exprs, mut known) = (vec![], vec![]);
    for (place, item) in items.enumerate() {
        let item = item.filter(|expr| is_known(expr, &source, &rows.known));
        known.push(item.is_some());
        exprs.push(match item {
            Some(expr) => named(expr.clone().unalias(), schema, place),
            None => null(schema, place)?,
        });
    }
    Ok(Rows { plan: projected(exprs, rows.plan)?, known })
}

fn projection(exprs: &[Expr], rows: Rows, schema: &DFSchema) -> Result<Rows, Refusal> {
    items_of(exprs.iter().map(Some), rows, schema)
}

/// Conditions on columns that are not known are left out: more rows stay then.
fn filter(predicate: &Expr, rows: Rows) -> Result<Rows, Refusal> {
    let schema = rows.plan.schema().clone();
    let conditions = split_conjunction(predicate).into_iter().filter(|c| is_known(c, &schema, &rows.known)).cloned();
    match conjunction(conditions) {
        None => Ok(rows),
        Some(predicate) => {
            let filter = Filter::try_new(predicate, Arc::new(rows.plan))?;
            Ok(Rows { plan: LogicalPlan::Filter(filter), known: rows.known })
        }
    }
}

fn unnest(plan: &LogicalPlan, node: &Unnest, rows: Rows) -> Result<Rows, Refusal> {
    let known = |place: &usize| rows.known.get(*place) == Some(&true);
    let lists = node.list_type_columns.iter().map(|(place, _)| place).chain(&node.struct_type_columns);
    if !lists.into_iter().all(known) {
        return Err(Refusal::because("a list that is unnested is computed from many rows"));
    }
    let flags = node.dependency_indices.iter().map(known).collect();
    Ok(Rows { plan: plan.with_new_exprs(plan.expressions(), vec![rows.plan])?, known: flags })
}

/// `plan` with the names of `schema`.
fn requalified(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan, Refusal> {
    let columns = (0..schema.fields().len()).map(|place| named(column(plan.schema(), place), schema, place)).collect();
    Ok(projected(columns, plan)?)
}

/// Whether `expr` has the same value for a row of which only `known` columns are right.
pub(super) fn is_known(expr: &Expr, schema: &DFSchema, known: &[bool]) -> bool {
    let is_there = |place: usize| known.get(place) == Some(&true);
    let columns: BTreeSet<_> = expr.column_refs().into_iter().cloned().collect();
    !has_subquery(expr) && columns.iter().all(|c| schema.index_of_column(c).is_ok_and(is_there))
}

fn is_lateral(plan: &LogicalPlan) -> Result<bool, Refusal> {
    let mut found = false;
    plan.apply(|node| {
        found |= matches!(node, LogicalPlan::Subquery(_));
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// The table of the lake that a scan names.
pub(super) fn table_name(reference: &TableReference) -> Option<TableName> {
    let layer = reference.schema().unwrap_or("silver");
    let layer = Layer::ALL.into_iter().find(|l| l.as_str() == layer)?;
    TableName::checked(layer, reference.table()).ok()
}

fn operator(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::RecursiveQuery(_) => "a recursive query",
        LogicalPlan::Subquery(_) => "a lateral subquery",
        _ => "one of its operators",
    }
}
