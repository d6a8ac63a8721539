//! One query for many workspaces: the same plan with the workspace in every group, partition and condition of a join, so that rows of two
//! workspaces never meet.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Filter, Join, LogicalPlan, SubqueryAlias, TableScan, Union, Window};
use recursive::recursive;

use super::refusal::Refusal;
use super::shape::{column, named, projected};
use super::witness::table_name;
use crate::workspace_id::WORKSPACE_COLUMN;

/// The column of the rewritten query with the workspace of a row.
pub(super) const WORKSPACE: &str = "__lake_workspace";

/// `query`, an analysed plan over tables of several workspaces, such that it gives for each workspace the rows that it would give over that one's
/// rows alone. Its last column is the row's workspace, under a name of its own.
///
/// A workspace without rows in the inputs gives no rows, which is why queries that give rows of nothing are refused.
///
/// # Errors
/// [`Refusal::Refused`] when there is an operator that cannot keep workspaces apart.
pub fn apart(query: &LogicalPlan) -> Result<LogicalPlan, Refusal> {
    let parted = Parting::default().part(query)?;
    let Some(parted) = parted else { return Err(Refusal::because("it reads no table")) };
    let last = query.schema().fields().len();
    let columns = (0..last).map(|place| column(parted.schema(), place));
    let columns = columns.chain([column(parted.schema(), last).alias(WORKSPACE)]).collect();
    Ok(projected(columns, parted)?)
}

/// Gives each column with a workspace a name of its own.
#[derive(Default)]
struct Parting {
    names: usize,
}

/// The columns of the operator, in their order, and last the workspace; `None` for rows that are of no workspace, such as constants.
type Parted = Option<LogicalPlan>;

impl Parting {
    #[recursive]
    fn part(&mut self, plan: &LogicalPlan) -> Result<Parted, Refusal> {
        if !reads_tables(plan)? {
            return Ok(None);
        }
        refuse_subqueries(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan).map(Some),
            LogicalPlan::Projection(node) => self
                .over(&node.input, |input, workspace| projected(node.expr.iter().cloned().chain([workspace]).collect(), input)),
            LogicalPlan::Filter(node) => self
                .over(&node.input, |input, _| Filter::try_new(node.predicate.clone(), Arc::new(input)).map(LogicalPlan::Filter)),
            LogicalPlan::SubqueryAlias(node) => self.over(&node.input, |input, _| {
                SubqueryAlias::try_new(Arc::new(input), node.alias.clone()).map(LogicalPlan::SubqueryAlias)
            }),
            LogicalPlan::Sort(node) if node.fetch.is_none() => self.part(&node.input),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                self.over(input, |input, _| Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(input)))))
            }
            LogicalPlan::Aggregate(node) => self.aggregate(node),
            LogicalPlan::Window(node) => self.over(&node.input, |input, workspace| window(node, input, &workspace)),
            LogicalPlan::Union(node) => self.union(node).map(Some),
            LogicalPlan::Join(node) => self.join(node).map(Some),
            _ => Err(Refusal::because("it has an operator that does not keep workspaces apart")),
        }
    }

    fn over(
        &mut self,
        input: &LogicalPlan,
        rewrite: impl FnOnce(LogicalPlan, Expr) -> datafusion::common::Result<LogicalPlan>,
    ) -> Result<Parted, Refusal> {
        let Some(input) = self.part(input)? else { return Ok(None) };
        let workspace = workspace_of(&input);
        Ok(Some(rewrite(input, workspace)?))
    }

    fn fresh(&mut self) -> String {
        self.names += 1;
        format!("{WORKSPACE}_{}", self.names)
    }

    fn scan(&mut self, scan: &TableScan) -> Result<LogicalPlan, Refusal> {
        let schema = &scan.projected_schema;
        let Some(place) = schema.fields().iter().position(|f| f.name() == WORKSPACE_COLUMN) else {
            return Err(Refusal::because("a table is read without its workspace"));
        };
        if scan.fetch.is_some() {
            return Err(Refusal::because("it has a LIMIT"));
        }
        let columns = (0..schema.fields().len()).map(|place| column(schema, place));
        let columns = columns.chain([column(schema, place).alias(self.fresh())]).collect();
        Ok(projected(columns, LogicalPlan::TableScan(scan.clone()))?)
    }

    fn aggregate(&mut self, node: &Aggregate) -> Result<Parted, Refusal> {
        if node.group_expr.is_empty() {
            return Err(Refusal::because("it aggregates without groups, which gives a row even of nothing"));
        }
        if node.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Err(Refusal::because("it groups by several sets of columns"));
        }
        self.over(&node.input, |input, workspace| {
            let groups = node.group_expr.iter().cloned().chain([workspace.clone()]).collect();
            let aggregate = Aggregate::try_new(Arc::new(input), groups, node.aggr_expr.clone())?;
            in_order(&node.schema, LogicalPlan::Aggregate(aggregate), workspace)
        })
    }

    fn union(&mut self, node: &Union) -> Result<LogicalPlan, Refusal> {
        let name = |place: usize| format!("__lake_{place}");
        let width = node.schema.fields().len();
        let mut branches = vec![];
        for input in &node.inputs {
            let Some(branch) = self.part(input)? else {
                return Err(Refusal::because("it adds rows that are of no workspace"));
            };
            let columns = (0..=width).map(|place| column(branch.schema(), place).alias(name(place))).collect();
            branches.push(Arc::new(projected(columns, branch)?));
        }
        let union = LogicalPlan::Union(Union::try_new(branches)?);
        let columns = (0..width).map(|place| named(column(union.schema(), place), &node.schema, place));
        let columns = columns.chain([column(union.schema(), width).alias(self.fresh())]).collect();
        Ok(projected(columns, union)?)
    }

    fn join(&mut self, node: &Join) -> Result<LogicalPlan, Refusal> {
        if node.null_aware {
            return Err(Refusal::because("one side of a join depends on the other"));
        }
        let (left, right) = (self.part(&node.left)?, self.part(&node.right)?);
        let (of_left, of_right) = (left.as_ref().map(workspace_of), right.as_ref().map(workspace_of));
        // The workspace of a row of the result is that of the side whose rows stay without a partner.
        let workspace = match (node.join_type, of_left.clone(), of_right.clone()) {
            (JoinType::Inner, Some(of_left), _) => Some(of_left),
            (JoinType::Inner, None, of_right) => of_right,
            (JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti, of_left, _) => of_left,
            (JoinType::Right | JoinType::RightSemi | JoinType::RightAnti, _, of_right) => of_right,
            (JoinType::Full, Some(of_left), Some(of_right)) => Some(coalesce(vec![of_left, of_right])),
            _ => None,
        };
        let Some(workspace) = workspace else { return Err(Refusal::because("a join keeps rows that are of no workspace")) };
        let mut on = node.on.clone();
        on.extend(of_left.zip(of_right));
        let join = Join::try_new(
            Arc::new(left.unwrap_or_else(|| node.left.as_ref().clone())),
            Arc::new(right.unwrap_or_else(|| node.right.as_ref().clone())),
            on,
            node.filter.clone(),
            node.join_type,
            node.join_constraint,
            node.null_equality,
            false,
        )?;
        let fresh = self.fresh();
        Ok(in_order(&node.schema, LogicalPlan::Join(join), workspace.alias(fresh))?)
    }
}

/// The last column.
fn workspace_of(plan: &LogicalPlan) -> Expr {
    let schema = plan.schema();
    column(schema, schema.fields().len().saturating_sub(1))
}

/// `plan` with the columns of `schema`, which it has by their names, and last the workspace.
fn in_order(schema: &DFSchema, plan: LogicalPlan, workspace: Expr) -> datafusion::common::Result<LogicalPlan> {
    let own = (0..schema.fields().len()).map(|place| Expr::Column(Column::from(schema.qualified_field(place))));
    projected(own.chain([workspace]).collect(), plan)
}

fn window(node: &Window, input: LogicalPlan, workspace: &Expr) -> datafusion::common::Result<LogicalPlan> {
    let parted = |expr: &Expr| {
        let with_workspace = |part: Expr| match part {
            Expr::WindowFunction(mut call) => {
                call.params.partition_by.push(workspace.clone());
                Ok(Transformed::yes(Expr::WindowFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        };
        expr.clone().transform(with_workspace).map(|t| t.data)
    };
    let exprs = node.window_expr.iter().map(parted).collect::<datafusion::common::Result<Vec<_>>>()?;
    let own = node.input.schema().fields().len();
    let plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(input))?);
    // The partition is part of a window's name, and the workspace now stands between the input's columns and the windows.
    let places = (0..node.schema.fields().len()).map(|place| if place < own { place } else { place + 1 });
    let columns = places.enumerate().map(|(place, from)| named(column(plan.schema(), from), &node.schema, place));
    projected(columns.chain([workspace.clone()]).collect(), plan.clone())
}

fn reads_tables(plan: &LogicalPlan) -> Result<bool, Refusal> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= table_name(&scan.table_name).is_some();
        }
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn refuse_subqueries(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut found = false;
    plan.apply_subqueries(|_| {
        found = true;
        Ok(TreeNodeRecursion::Stop)
    })?;
    if found { Err(Refusal::because("it has a subquery in an expression")) } else { Ok(()) }
}
