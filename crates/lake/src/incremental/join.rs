//! Changes followed through joins.

use std::sync::Arc;

use datafusion::common::{DFSchema, JoinType};
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, Join, LogicalPlan, Operator};

use super::refusal::Refusal;
use super::shape::{column, named, null, projected, united};
use super::witness::{Outcome, Rows, Traced, is_known};

/// Builds joins of rewritten sides.
pub(super) struct Joiner<'a> {
    pub(super) node: &'a Join,
}

impl Joiner<'_> {
    /// Inner and outer joins: a row of the result changes with one of the two it is made of, and one without a partner also when the
    /// other side gains or loses partners of it.
    pub(super) fn both(&self, left: &Traced, right: &Traced) -> Outcome {
        let keeps_left = matches!(self.node.join_type, JoinType::Left | JoinType::Full);
        let keeps_right = matches!(self.node.join_type, JoinType::Right | JoinType::Full);
        let mut changed = vec![];
        match (&left.changed, &right.changed) {
            (Some(rows), None) if keeps_left && !keeps_right && self.is_whole(rows, &right.all) => {
                changed.push(self.joined(rows, &right.all, JoinType::Left)?);
            }
            (None, Some(rows)) if keeps_right && !keeps_left && self.is_whole(&left.all, rows) => {
                changed.push(self.joined(&left.all, rows, JoinType::Right)?);
            }
            (left_rows, right_rows) => {
                if let Some(rows) = left_rows {
                    changed.push(self.joined(rows, &right.all, JoinType::Inner)?);
                    changed.extend(keeps_left.then(|| self.alone(rows.clone(), true)).transpose()?);
                }
                if let Some(rows) = right_rows {
                    changed.push(self.joined(&left.all, rows, JoinType::Inner)?);
                    changed.extend(keeps_right.then(|| self.alone(rows.clone(), false)).transpose()?);
                }
                if let Some(rows) = right_rows.as_ref().filter(|_| keeps_left) {
                    let met = Rows { known: left.all.known.clone(), ..self.joined(&left.all, rows, JoinType::LeftSemi)? };
                    changed.push(self.alone(met, true)?);
                }
                if let Some(rows) = left_rows.as_ref().filter(|_| keeps_right) {
                    let met = Rows { known: right.all.known.clone(), ..self.joined(rows, &right.all, JoinType::RightSemi)? };
                    changed.push(self.alone(met, false)?);
                }
            }
        }
        let mut all = vec![self.joined(&left.all, &right.all, JoinType::Inner)?];
        all.extend(keeps_left.then(|| self.alone(left.all.clone(), true)).transpose()?);
        all.extend(keeps_right.then(|| self.alone(right.all.clone(), false)).transpose()?);
        Ok(Traced { all: self.unite(all)?, changed: Some(self.unite(changed)?) })
    }

    /// Semi and anti joins: a row stays or goes when it changes or when the other side gains or loses a partner of it.
    pub(super) fn one(&self, kept: Traced, other: &Traced, semi: JoinType) -> Outcome {
        let mut changed: Vec<Rows> = kept.changed.into_iter().collect();
        if let Some(rows) = &other.changed {
            let (left, right) = if semi == JoinType::LeftSemi { (&kept.all, rows) } else { (rows, &kept.all) };
            changed.push(Rows { known: kept.all.known.clone(), ..self.joined(left, right, semi)? });
        }
        Ok(Traced { all: kept.all, changed: Some(self.unite(changed)?) })
    }

    /// `left` and `right` joined by those of the conditions whose columns are known: more rows meet then, never fewer.
    fn joined(&self, left: &Rows, right: &Rows, join_type: JoinType) -> Result<Rows, Refusal> {
        let whole = self.schema()?;
        let known: Vec<bool> = left.known.iter().chain(&right.known).copied().collect();
        let usable = |expr: &Expr| is_known(expr, &whole, &known);
        let on: Vec<_> = self.node.on.iter().filter(|(l, r)| usable(l) && usable(r)).cloned().collect();
        let conditions: Vec<Expr> = self.node.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let kept: Vec<Expr> = conditions.iter().filter(|c| usable(c)).cloned().collect();
        let had = self.node.on.len() + conditions.iter().filter(|c| is_equality(c)).count();
        if had > 0 && on.len() + kept.iter().filter(|c| is_equality(c)).count() == 0 {
            return Err(Refusal::because("a join is by a column that is computed from many rows"));
        }
        let join = Join::try_new(
            Arc::new(left.plan.clone()),
            Arc::new(right.plan.clone()),
            on,
            conjunction(kept),
            join_type,
            self.node.join_constraint,
            self.node.null_equality,
            false,
        )?;
        Ok(Rows { plan: LogicalPlan::Join(join), known })
    }

    /// Whether all conditions can be checked, so that a row without a partner is known to have none.
    fn is_whole(&self, left: &Rows, right: &Rows) -> bool {
        let Ok(whole) = self.schema() else { return false };
        let known: Vec<bool> = left.known.iter().chain(&right.known).copied().collect();
        let usable = |expr: &Expr| is_known(expr, &whole, &known);
        self.node.on.iter().all(|(l, r)| usable(l) && usable(r))
            && self.node.filter.iter().flat_map(|f| split_conjunction(f)).all(usable)
    }

    /// The rows of one side without a partner.
    fn alone(&self, rows: Rows, is_left: bool) -> Result<Rows, Refusal> {
        let schema = &self.node.schema;
        let width = schema.fields().len();
        let start = if is_left { 0 } else { width - rows.known.len() };
        let own = start..start + rows.known.len();
        let source = rows.plan.schema().clone();
        let items = (0..width).map(|place| match own.contains(&place) {
            true => Ok(named(column(&source, place - start), schema, place)),
            false => null(schema, place),
        });
        let items = items.collect::<Result<Vec<_>, _>>()?;
        let known = (0..width).map(|place| !own.contains(&place) || rows.known.get(place - start) == Some(&true)).collect();
        Ok(Rows { plan: projected(items, rows.plan)?, known })
    }

    fn unite(&self, rows: Vec<Rows>) -> Result<Rows, Refusal> {
        let width = self.node.schema.fields().len();
        let known = (0..width).map(|place| rows.iter().all(|r| r.known.get(place) == Some(&true))).collect();
        Ok(Rows { plan: united(rows.into_iter().map(|r| r.plan).collect(), &self.node.schema)?, known })
    }

    /// The columns of both sides.
    fn schema(&self) -> Result<DFSchema, Refusal> {
        Ok(self.node.left.schema().join(self.node.right.schema())?)
    }
}

fn is_equality(condition: &Expr) -> bool {
    matches!(condition, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq | Operator::IsNotDistinctFrom, .. }))
}
