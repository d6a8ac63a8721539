//! Why a query cannot be refreshed by groups.

use std::fmt;

use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Volatility};

/// Why a plan is not rewritten. Text for the run report: names operators and tables, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused(pub String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a rewriting ended early.
#[derive(Debug)]
pub enum Refusal {
    /// The plan has something that does not allow it.
    Refused(Refused),
    /// The library failed.
    Failed(Box<DataFusionError>),
}

impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl Refusal {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self::Refused(Refused(reason.into()))
    }

    /// As text for the run report.
    pub fn reason(&self) -> String {
        match self {
            Self::Refused(refused) => refused.to_string(),
            Self::Failed(_) => "the query cannot be rewritten".to_owned(),
        }
    }
}

/// Refuses plans whose rows depend on anything but the rows of their inputs: then parts of two results do not fit together.
pub(super) fn refuse_unrepeatable(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut found: Option<String> = None;
    plan.apply_with_subqueries(|node| {
        let cause = match node {
            LogicalPlan::Limit(_) => Some("it has a LIMIT".to_owned()),
            LogicalPlan::Sort(sort) if sort.fetch.is_some() => Some("it has a LIMIT".to_owned()),
            LogicalPlan::TableScan(scan) if scan.fetch.is_some() => Some("it has a LIMIT".to_owned()),
            LogicalPlan::Distinct(Distinct::On(on)) if on.sort_expr.is_none() => {
                Some("it has a DISTINCT ON without an order".to_owned())
            }
            LogicalPlan::Extension(_) => Some("it has an operator that is not known".to_owned()),
            _ => None,
        };
        found = found.take().or(cause);
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Some(name) = changing_function(part) {
                    found.get_or_insert(format!("it calls `{name}`, whose value changes by itself"));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    found.map_or(Ok(()), |reason| Err(Refusal::because(reason)))
}

/// The function that `expr` calls, when it may give something else the next time.
fn changing_function(expr: &Expr) -> Option<String> {
    let (name, signature) = match expr {
        Expr::ScalarFunction(call) => (call.name().to_owned(), call.func.signature()),
        Expr::AggregateFunction(call) => (call.func.name().to_owned(), call.func.signature()),
        Expr::WindowFunction(call) => {
            return (call.fun.signature().volatility != Volatility::Immutable).then(|| call.fun.name().to_owned());
        }
        Expr::ScalarVariable(..) | Expr::Placeholder(_) => return Some("a variable".to_owned()),
        _ => return None,
    };
    (signature.volatility != Volatility::Immutable).then_some(name)
}

/// Whether `expr` runs a query of its own or reads a column of the query around it.
pub(super) fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|part| {
        Ok(matches!(
            part,
            Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::ScalarSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        ))
    })
    .unwrap_or(true)
}
