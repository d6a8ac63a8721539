//! Where the columns and the rows of a plan come from, operator by operator.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::cte_worktable::CteWorkTable;
use datafusion::common::{DFSchema, JoinType, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::functions_table::generate_series::GenerateSeriesTable;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, Join, LogicalPlan, RecursiveQuery, TableScan, Union, Unnest, Values,
};
use recursive::recursive;

use super::model::{IndirectKind, SourceKind};
use super::origin::{Influence, Origin};
use super::scope::{Input, Scope};

/// The origin of an intermediate result.
#[derive(Debug, Clone, Default)]
pub(super) struct Relation {
    /// The origin of each column, by position: names need not be unique.
    pub(super) columns: Vec<Origin>,
    /// What decided which rows there are, how often and in what order.
    pub(super) rows: BTreeSet<Influence>,
}

/// Walks a plan from its scans to its root.
#[derive(Default)]
pub(super) struct Tracer {
    /// The datasets scanned so far.
    pub(super) datasets: BTreeSet<String>,
    /// What is known of the recursive CTEs whose recursive term is being walked, innermost last.
    working_tables: Vec<(String, Vec<Origin>)>,
}

impl Tracer {
    /// The origin of what `plan` yields; `outer` holds the names of the query around it. Safe for plans of any depth.
    #[recursive]
    pub(super) fn relation(&mut self, plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Relation {
        match plan {
            LogicalPlan::TableScan(scan) => self.table_scan(scan, outer),
            LogicalPlan::Projection(node) => self.projection(&node.expr, &node.input, outer),
            LogicalPlan::Filter(node) => self.decided(&node.input, [&node.predicate], IndirectKind::Filter, outer),
            LogicalPlan::Sort(node) => {
                self.decided(&node.input, node.expr.iter().map(|key| &key.expr), IndirectKind::Sort, outer)
            }
            LogicalPlan::Window(node) => self.window(&node.window_expr, &node.input, outer),
            LogicalPlan::Aggregate(node) => self.aggregate(node, outer),
            LogicalPlan::Join(node) => self.join(node, outer),
            LogicalPlan::Union(node) => self.union(node, outer),
            LogicalPlan::Distinct(Distinct::All(input)) => grouped_by_all(self.relation(input, outer)),
            LogicalPlan::Distinct(Distinct::On(node)) => self.distinct_on(node, outer),
            LogicalPlan::Unnest(node) => self.unnest(node, outer),
            LogicalPlan::RecursiveQuery(node) => self.recursive_query(node, outer),
            LogicalPlan::Values(node) => self.values(node, outer),
            LogicalPlan::Subquery(node) => self.relation(&node.subquery, outer),
            LogicalPlan::SubqueryAlias(node) => self.relation(&node.input, outer),
            LogicalPlan::Limit(node) => self.relation(&node.input, outer),
            LogicalPlan::Repartition(node) => self.relation(&node.input, outer),
            other => self.opaque(other, outer),
        }
    }

    fn table_scan(&mut self, scan: &TableScan, outer: Option<&Scope<'_>>) -> Relation {
        if let Some(view) = scan.source.get_logical_plan() {
            let whole = self.relation(&view, outer);
            return scanned(scan, whole);
        }
        if let Some(whole) = self.working_table(scan) {
            return scanned(scan, whole);
        }
        if is_table_function(scan) {
            return nowhere(&scan.projected_schema);
        }
        let reference = without_catalog(&scan.table_name);
        let dataset = reference.to_string();
        let fields = scan.projected_schema.fields().iter();
        let columns = fields.map(|field| Origin::of_column(&dataset, field.name(), Some(reference.clone()))).collect();
        // A pushed-down filter may name columns that the scan does not yield.
        let filters = self.deciding(&scan.filters, IndirectKind::Filter, &Scope::dataset(&dataset));
        self.datasets.insert(dataset);
        Relation { columns, rows: filters.into_iter().collect() }
    }

    /// The rows so far of the recursive CTE that `scan` refers to, if it is no table at all.
    fn working_table(&self, scan: &TableScan) -> Option<Relation> {
        let provider = source_as_provider(&scan.source).ok()?;
        let name = provider.downcast_ref::<CteWorkTable>()?.name();
        let (_, columns) = self.working_tables.iter().rev().find(|(known, _)| known == name)?;
        Some(Relation { columns: columns.clone(), rows: BTreeSet::new() })
    }

    fn projection(&mut self, exprs: &[Expr], input: &LogicalPlan, outer: Option<&Scope<'_>>) -> Relation {
        let relation = self.relation(input, outer);
        let columns = self.items(exprs, input, &relation, outer);
        Relation { columns, rows: relation.rows }
    }

    fn window(&mut self, exprs: &[Expr], input: &LogicalPlan, outer: Option<&Scope<'_>>) -> Relation {
        let mut relation = self.relation(input, outer);
        let added = self.items(exprs, input, &relation, outer);
        relation.columns.extend(added);
        relation
    }

    fn items<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        input: &LogicalPlan,
        relation: &Relation,
        outer: Option<&Scope<'_>>,
    ) -> Vec<Origin> {
        let inputs = [Input { schema: input.schema(), columns: &relation.columns }];
        let scope = Scope::inputs(&inputs, outer);
        exprs.into_iter().map(|expr| self.item(expr, &scope)).collect()
    }

    /// The rows of `input` where `exprs` decide on them.
    fn decided<'e>(
        &mut self,
        input: &LogicalPlan,
        exprs: impl IntoIterator<Item = &'e Expr>,
        kind: IndirectKind,
        outer: Option<&Scope<'_>>,
    ) -> Relation {
        let mut relation = self.relation(input, outer);
        let inputs = [Input { schema: input.schema(), columns: &relation.columns }];
        let influences = self.deciding(exprs, kind, &Scope::inputs(&inputs, outer));
        relation.rows.extend(influences);
        relation
    }

    fn aggregate(&mut self, node: &Aggregate, outer: Option<&Scope<'_>>) -> Relation {
        // This fails only for a grouping set beside other keys, which no finished plan has.
        let groups = grouping_set_to_exprlist(&node.group_expr).unwrap_or_else(|_| node.group_expr.iter().collect());
        let relation = self.decided(&node.input, groups.iter().copied(), IndirectKind::GroupBy, outer);
        let mut columns = self.items(groups, &node.input, &relation, outer);
        if let [Expr::GroupingSet(_)] = node.group_expr.as_slice() {
            // DataFusion adds a column that numbers the grouping set.
            columns.push(Origin::default());
        }
        columns.extend(self.items(&node.aggr_expr, &node.input, &relation, outer));
        Relation { columns, rows: relation.rows }
    }

    fn join(&mut self, node: &Join, outer: Option<&Scope<'_>>) -> Relation {
        let left = self.relation(&node.left, outer);
        let left_inputs = [Input { schema: node.left.schema(), columns: &left.columns }];
        let left_scope = Scope::inputs(&left_inputs, outer);
        let right = self.relation(&node.right, if is_lateral(&node.right) { Some(&left_scope) } else { outer });
        let right_inputs = [Input { schema: node.right.schema(), columns: &right.columns }];
        let both = [left_inputs[0], right_inputs[0]];

        // Both sides of a set operation may call their columns the same, so each key is looked up on its own side.
        let keys = node.on.iter();
        let mut rows = self.deciding(keys.clone().map(|(key, _)| key), IndirectKind::Join, &left_scope);
        rows.extend(self.deciding(keys.map(|(_, key)| key), IndirectKind::Join, &Scope::inputs(&right_inputs, outer)));
        rows.extend(self.deciding(&node.filter, IndirectKind::Join, &Scope::inputs(&both, outer)));
        let rows = rows.into_iter().chain(left.rows).chain(right.rows).collect();
        Relation { columns: joined(left.columns, right.columns, node.join_type), rows }
    }

    fn union(&mut self, node: &Union, outer: Option<&Scope<'_>>) -> Relation {
        let branches: Vec<Relation> = node.inputs.iter().map(|input| self.relation(input, outer)).collect();
        let either = |mine: Relation, other: Relation| mine.or(other, &node.schema);
        branches.into_iter().reduce(either).unwrap_or_default()
    }

    /// Of the rows that are equal in the `ON` list, the first in the order of the sort is kept.
    fn distinct_on(&mut self, node: &DistinctOn, outer: Option<&Scope<'_>>) -> Relation {
        let mut relation = self.decided(&node.input, &node.on_expr, IndirectKind::GroupBy, outer);
        let inputs = [Input { schema: node.input.schema(), columns: &relation.columns }];
        let order = node.sort_expr.iter().flatten().map(|key| &key.expr);
        let influences = self.deciding(order, IndirectKind::Sort, &Scope::inputs(&inputs, outer));
        relation.rows.extend(influences);
        let columns = self.items(&node.select_expr, &node.input, &relation, outer);
        Relation { columns, rows: relation.rows }
    }

    fn unnest(&mut self, node: &Unnest, outer: Option<&Scope<'_>>) -> Relation {
        let input = self.relation(&node.input, outer);
        let columns = node.dependency_indices.iter().enumerate().map(|(position, index)| {
            let origin = input.columns.get(*index).cloned().unwrap_or_default();
            if node.struct_type_columns.contains(index) {
                struct_field(node, position, *index, origin)
            } else if node.list_type_columns.iter().any(|(list, _)| list == index) {
                origin.element()
            } else {
                origin
            }
        });
        Relation { columns: columns.collect(), rows: input.rows }
    }

    /// Walks the recursive term until another round finds no new source; each round only adds, so this ends.
    fn recursive_query(&mut self, node: &RecursiveQuery, outer: Option<&Scope<'_>>) -> Relation {
        let mut known = self.relation(&node.static_term, outer);
        loop {
            self.working_tables.push((node.name.clone(), known.columns.clone()));
            let round = self.relation(&node.recursive_term, outer);
            self.working_tables.pop();
            let next = known.clone().or(round, &node.schema);
            let done = next.columns.iter().zip(&known.columns).all(|(after, before)| after.same_reach(before));
            known = next;
            if done {
                break;
            }
        }
        if node.is_distinct { grouped_by_all(known) } else { known }
    }

    fn values(&mut self, node: &Values, outer: Option<&Scope<'_>>) -> Relation {
        let scope = Scope::inputs(&[], outer);
        let rows = node
            .values
            .iter()
            .map(|row| Relation { columns: row.iter().map(|value| self.item(value, &scope)).collect(), rows: BTreeSet::new() });
        let rows: Vec<Relation> = rows.collect();
        rows.into_iter().reduce(|one, other| one.or(other, &node.schema)).unwrap_or_default()
    }

    /// An operator this module does not know: a column comes from its namesake, else from every column of the inputs.
    fn opaque(&mut self, plan: &LogicalPlan, outer: Option<&Scope<'_>>) -> Relation {
        let inputs: Vec<(&LogicalPlan, Relation)> =
            plan.inputs().into_iter().map(|input| (input, self.relation(input, outer))).collect();
        if !inputs.is_empty() {
            tracing::warn!(operator = %plan.display(), "the plan has an unknown operator; its lineage goes by name");
        }
        let column = |name: &str| {
            let namesake = inputs
                .iter()
                .find_map(|(input, relation)| relation.columns.get(input.schema().index_of_column_by_name(None, name)?).cloned());
            namesake.unwrap_or_else(|| {
                let mut all = Origin::default();
                inputs.iter().flat_map(|(_, relation)| relation.columns.clone()).for_each(|column| all.absorb(column));
                all.raised(SourceKind::Transformation)
            })
        };
        let columns = plan.schema().fields().iter().map(|field| column(field.name())).collect();
        Relation { columns, rows: inputs.into_iter().flat_map(|(_, relation)| relation.rows).collect() }
    }
}

impl Relation {
    /// The rows of both, column by column; `schema` names the columns.
    fn or(self, other: Relation, schema: &DFSchema) -> Relation {
        let pairs = self.columns.into_iter().zip(other.columns).zip(schema.fields());
        let columns = pairs.map(|((one, other), field)| one.or(other, field.name())).collect();
        Relation { columns, rows: self.rows.into_iter().chain(other.rows).collect() }
    }
}

fn grouped_by_all(mut relation: Relation) -> Relation {
    let keys = relation.columns.iter().flat_map(|column| column.clone().deciding(IndirectKind::GroupBy));
    relation.rows.extend(keys);
    relation
}

/// The columns of `whole` that a scan asks for.
fn scanned(scan: &TableScan, whole: Relation) -> Relation {
    match &scan.projection {
        None => whole,
        Some(indices) => {
            let columns = indices.iter().map(|index| whole.columns.get(*index).cloned().unwrap_or_default()).collect();
            Relation { columns, rows: whole.rows }
        }
    }
}

fn nowhere(schema: &DFSchema) -> Relation {
    Relation { columns: vec![Origin::default(); schema.fields().len()], rows: BTreeSet::new() }
}

/// Table functions are scans of tables that do not exist; the planner marks most of them with `()`.
fn is_table_function(scan: &TableScan) -> bool {
    let generated = source_as_provider(&scan.source).is_ok_and(|table| table.is::<GenerateSeriesTable>());
    generated || matches!(&scan.table_name, TableReference::Bare { table } if table.ends_with("()"))
}

fn without_catalog(reference: &TableReference) -> TableReference {
    match reference.schema() {
        Some(schema) => TableReference::partial(schema, reference.table()),
        None => TableReference::bare(reference.table()),
    }
}

/// Whether the right side of a join uses names of the left one.
fn is_lateral(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(node) => is_lateral(&node.input),
        LogicalPlan::Join(node) => is_lateral(&node.left) || is_lateral(&node.right),
        _ => false,
    }
}

fn joined(left: Vec<Origin>, right: Vec<Origin>, join_type: JoinType) -> Vec<Origin> {
    let with_mark = |side: Vec<Origin>| side.into_iter().chain([Origin::default()]).collect();
    match join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => left.into_iter().chain(right).collect(),
        JoinType::LeftSemi | JoinType::LeftAnti => left,
        JoinType::RightSemi | JoinType::RightAnti => right,
        JoinType::LeftMark => with_mark(left),
        JoinType::RightMark => with_mark(right),
    }
}

/// An unnested struct becomes one column for each of its fields, in order; this is the one at `position`.
fn struct_field(node: &Unnest, position: usize, index: usize, origin: Origin) -> Origin {
    let nth = node.dependency_indices.iter().take(position).filter(|other| **other == index).count();
    let DataType::Struct(fields) = node.input.schema().field(index).data_type() else {
        return origin;
    };
    fields.get(nth).map_or_else(Origin::default, |field| origin.field(field.name()))
}
