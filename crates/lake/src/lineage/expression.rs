//! Where the value of an expression comes from.

use std::collections::BTreeMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{AggregateFunction, Case, ScalarFunction, WindowFunction};
use datafusion::logical_expr::{Expr, SortExpr, Subquery, WindowFunctionDefinition};
use datafusion::scalar::ScalarValue;
use recursive::recursive;

use super::model::{IndirectKind, SourceKind};
use super::origin::{Influence, Origin};
use super::relation::Tracer;
use super::scope::Scope;
use super::text;

impl Tracer {
    /// Where an item of a select list comes from, together with the SQL that computes it.
    pub(super) fn item(&mut self, expr: &Expr, scope: &Scope<'_>) -> Origin {
        let mut origin = self.trace(expr, scope);
        if !is_reference(expr) {
            origin.definition = text::definition(expr, scope);
        }
        origin
    }

    /// Where the value of `expr` comes from. Safe for expressions of any depth.
    #[recursive]
    pub(super) fn trace(&mut self, expr: &Expr, scope: &Scope<'_>) -> Origin {
        match expr {
            Expr::Alias(alias) => self.trace(&alias.expr, scope),
            Expr::Column(column) => scope.column(column),
            Expr::OuterReferenceColumn(_, column) => scope.outer_column(column),
            Expr::Case(case) => self.case(case, scope),
            Expr::ScalarFunction(function) => self.scalar_function(function, expr, scope),
            Expr::AggregateFunction(function) => self.aggregate_function(function, scope),
            Expr::WindowFunction(function) => self.window_function(function, scope),
            Expr::ScalarSubquery(subquery) => self.scalar_subquery(subquery, scope),
            Expr::Exists(exists) => self.exists(&exists.subquery, scope),
            Expr::InSubquery(test) => self.membership(&test.expr, &test.subquery, scope),
            Expr::SetComparison(test) => self.membership(&test.expr, &test.subquery, scope),
            other => self.operands(other, scope),
        }
    }

    /// What `exprs` have influence on where they only decide.
    pub(super) fn deciding<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        kind: IndirectKind,
        scope: &Scope<'_>,
    ) -> Vec<Influence> {
        exprs.into_iter().flat_map(|expr| self.trace(expr, scope).deciding(kind)).collect()
    }

    fn operands(&mut self, expr: &Expr, scope: &Scope<'_>) -> Origin {
        let mut operands = Vec::new();
        // Collecting cannot fail, and neither can the walk.
        let _ = expr.apply_children(|child| {
            operands.push(child);
            Ok(TreeNodeRecursion::Continue)
        });
        self.combined(operands, SourceKind::Transformation, scope)
    }

    fn combined<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>, kind: SourceKind, scope: &Scope<'_>) -> Origin {
        let mut combined = Origin::default();
        for expr in exprs {
            combined.absorb(self.trace(expr, scope));
        }
        combined.raised(kind)
    }

    /// The conditions, and the value they are compared with, decide; the results are what arrives.
    fn case(&mut self, case: &Case, scope: &Scope<'_>) -> Origin {
        let results = case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr);
        let mut origin = self.combined(results.map(AsRef::as_ref), SourceKind::Transformation, scope);
        let conditions = case.expr.iter().chain(case.when_then_expr.iter().map(|(when, _)| when));
        origin.influences.extend(self.deciding(conditions.map(AsRef::as_ref), IndirectKind::Conditional, scope));
        origin
    }

    /// Functions that take structs apart or put them together keep the fields apart; all others mix their arguments.
    fn scalar_function(&mut self, function: &ScalarFunction, expr: &Expr, scope: &Scope<'_>) -> Origin {
        match (function.name(), function.args.as_slice()) {
            ("get_field", [base, path @ ..]) if !scope.is_map(base) => match names(path) {
                Some(path) => path.into_iter().fold(self.trace(base, scope), Origin::field),
                None => self.operands(expr, scope),
            },
            ("named_struct", pairs) => match names(pairs.iter().step_by(2)) {
                Some(fields) => {
                    let fields = fields.into_iter().map(str::to_owned);
                    self.structure(fields.zip(pairs.iter().skip(1).step_by(2)), scope)
                }
                None => self.operands(expr, scope),
            },
            ("struct", values) => {
                let fields = (0..values.len()).map(|position| format!("c{position}"));
                self.structure(fields.zip(values), scope)
            }
            _ => self.operands(expr, scope),
        }
    }

    fn structure<'e>(&mut self, fields: impl Iterator<Item = (String, &'e Expr)>, scope: &Scope<'_>) -> Origin {
        let fields: BTreeMap<_, _> = fields.map(|(name, value)| (name, self.item(value, scope))).collect();
        Origin::of_fields(fields)
    }

    fn aggregate_function(&mut self, function: &AggregateFunction, scope: &Scope<'_>) -> Origin {
        // `grouping(a)` tells which grouping set a row belongs to and never looks at a value of `a`.
        if function.func.name() == "grouping" {
            return Origin::default();
        }
        let params = &function.params;
        let mut origin = self.combined(&params.args, SourceKind::Aggregation, scope);
        let filter = params.filter.as_deref();
        origin.influences.extend(self.deciding(filter, IndirectKind::Filter, scope));
        origin.influences.extend(self.deciding(sort_keys(&params.order_by), IndirectKind::Sort, scope));
        origin
    }

    fn window_function(&mut self, function: &WindowFunction, scope: &Scope<'_>) -> Origin {
        let kind = match function.fun {
            WindowFunctionDefinition::AggregateUDF(_) => SourceKind::Aggregation,
            WindowFunctionDefinition::WindowUDF(_) => SourceKind::Transformation,
        };
        let params = &function.params;
        let mut origin = self.combined(&params.args, kind, scope);
        let window = params.partition_by.iter().chain(sort_keys(&params.order_by));
        origin.influences.extend(self.deciding(window, IndirectKind::Window, scope));
        origin.influences.extend(self.deciding(params.filter.as_deref(), IndirectKind::Filter, scope));
        origin
    }

    /// The value arrives as a join with the subquery would bring it; what decides on its rows decides on the value.
    fn scalar_subquery(&mut self, subquery: &Subquery, scope: &Scope<'_>) -> Origin {
        let relation = self.relation(&subquery.subquery, Some(scope));
        let mut origin = relation.columns.into_iter().next().unwrap_or_default();
        origin.influences.extend(relation.rows);
        origin
    }

    fn exists(&mut self, subquery: &Subquery, scope: &Scope<'_>) -> Origin {
        let relation = self.relation(&subquery.subquery, Some(scope));
        Origin::of_influences(relation.rows)
    }

    fn membership(&mut self, tested: &Expr, subquery: &Subquery, scope: &Scope<'_>) -> Origin {
        let mut origin = self.combined([tested], SourceKind::Transformation, scope);
        let list = self.relation(&subquery.subquery, Some(scope));
        origin.influences.extend(list.rows);
        origin.influences.extend(list.columns.into_iter().flat_map(|column| column.deciding(IndirectKind::Subquery)));
        origin
    }
}

/// Whether `expr` is a column under whatever alias.
fn is_reference(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_reference(&alias.expr),
        other => matches!(other, Expr::Column(_) | Expr::OuterReferenceColumn(_, _)),
    }
}

fn sort_keys(order: &[SortExpr]) -> impl Iterator<Item = &Expr> {
    order.iter().map(|key| &key.expr)
}

/// The string literals in `exprs`, if they all are.
fn names<'e>(exprs: impl IntoIterator<Item = &'e Expr>) -> Option<Vec<&'e str>> {
    let name = |expr: &'e Expr| match expr {
        Expr::Literal(ScalarValue::Utf8(name) | ScalarValue::LargeUtf8(name) | ScalarValue::Utf8View(name), _) => name.as_deref(),
        _ => None,
    };
    exprs.into_iter().map(name).collect()
}
