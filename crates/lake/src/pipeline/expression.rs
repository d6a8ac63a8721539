//! One expression of a silver table: which names it may use, that it is about one row, and its type.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion::sql::sqlparser::ast::{self, Spanned as _, Visit, Visitor};

use super::compile::Planner;
use super::fact::{Call, Facts, Name};
use super::name::{did_you_mean, is_platform_column};
use super::sql::SqlText;
use super::types;
use crate::diagnostic::{Diagnostic, Spanned, nearest};

/// The longest list of columns that is worth reading in a help text.
const MAX_LISTED: usize = 12;

/// How many parts of an expression are tried to find the one that is wrong.
const MAX_TRIED: usize = 300;

/// The columns that an expression may use.
pub(super) struct Scope {
    names: Vec<String>,
    schema: SchemaRef,
    planned: DFSchema,
    /// The table or tables the columns are from, in backticks.
    owner: String,
    /// Columns that exist, but whose own expression is wrong: nothing is said about what uses them.
    broken: BTreeSet<String>,
    /// What to do about a column that was not in the sample.
    incomplete: Option<String>,
}

/// An expression and the type of its values.
pub(super) struct Typed {
    pub(super) expr: Expr,
    pub(super) data_type: DataType,
}

impl Scope {
    /// The columns of `schema`, which belong to `owner`.
    pub(super) fn new(schema: &SchemaRef, owner: String, incomplete: Option<String>) -> Result<Self, DataFusionError> {
        let names = schema.fields().iter().map(|f| f.name().clone()).collect();
        let planned = DFSchema::try_from(schema.as_ref().clone())?;
        Ok(Self { names, schema: schema.clone(), planned, owner, broken: BTreeSet::new(), incomplete })
    }

    /// The columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Says nothing about expressions that use these columns.
    pub(super) fn with_broken(mut self, broken: BTreeSet<String>) -> Self {
        self.broken = broken;
        self
    }

    fn unknown_column(&self, name: &Name, sql: &SqlText<'_>) -> Diagnostic {
        let word = name.parts.first().map(|p| p.value.as_str()).unwrap_or_default();
        let quoted = name.parts.first().is_some_and(|p| p.quote_style == Some('"'));
        let near = nearest(word, self.names.iter().map(String::as_str)).map(str::to_owned);
        let near = near.or_else(|| self.nested(word)).map(|n| format!("did you mean `{n}`?"));
        let help = match (near, &self.incomplete) {
            _ if quoted => format!("a text is written in single quotes: `'{word}'`"),
            (Some(near), None) => near,
            (Some(near), Some(incomplete)) => format!("{near} If the data has `{word}`, {incomplete}"),
            (None, Some(incomplete)) => {
                format!("it was not in the part of the data that was looked at; if the data has it, {incomplete}")
            }
            (None, None) => self.listed(),
        };
        let message = format!("there is no column `{word}` in {}", self.owner);
        sql.error("unknown-column", sql.span(name.span()), message).with_help(help)
    }

    /// A field of that name inside a struct.
    fn nested(&self, word: &str) -> Option<String> {
        fn search(field: &Field, path: &str, word: &str, depth: usize) -> Option<String> {
            let DataType::Struct(fields) = field.data_type() else { return None };
            fields.iter().filter(|_| depth < 4).find_map(|f| {
                let path = format!("{path}.{}", f.name());
                if f.name() == word { Some(path) } else { search(f, &path, word, depth + 1) }
            })
        }
        self.schema.fields().iter().find_map(|f| search(f, f.name(), word, 0))
    }

    fn listed(&self) -> String {
        let delivered: Vec<&String> = self.names.iter().filter(|n| !is_platform_column(n)).collect();
        let names: Vec<String> = delivered.iter().take(MAX_LISTED).map(|n| format!("`{n}`")).collect();
        let more = if delivered.len() > MAX_LISTED { " and more" } else { "" };
        format!("its columns are {}{more}", names.join(", "))
    }
}

impl Planner<'_> {
    /// Plans `sql` over the columns of `scope`; `None` when something is wrong, which then has been reported.
    pub(super) fn expression(&mut self, sql: &Spanned<String>, scope: &Scope) -> Option<Typed> {
        let text = SqlText::new(self.source, sql);
        let parsed = match text.parse_expression() {
            Ok(parsed) => parsed,
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                return None;
            }
        };
        let facts = Facts::of_expression(&parsed);
        let mut found = self.refused(&facts, &text);
        let mut silent = false;
        for name in &facts.columns {
            let first = name.parts.first().map(|p| p.value.as_str()).unwrap_or_default();
            silent |= scope.broken.contains(first);
            found.extend(self.unresolved(name, scope, &text));
        }
        let clean = found.is_empty();
        self.diagnostics.extend(found);
        if !clean || silent {
            return None;
        }
        match self.plan(parsed.clone(), scope) {
            Ok(typed) => Some(typed),
            Err(error) => {
                let diagnostic = self.place(&parsed, &error, scope, &facts, &text);
                self.diagnostics.push(diagnostic);
                None
            }
        }
    }

    /// Plans `sql` as a condition.
    pub(super) fn condition(&mut self, sql: &Spanned<String>, scope: &Scope, what: &str) -> Option<Expr> {
        let typed = self.expression(sql, scope)?;
        if typed.data_type == DataType::Boolean {
            return Some(typed.expr);
        }
        let message = format!("{what} is a condition, but this is {}", types::display(&typed.data_type));
        let help = "compare it with something, such as `op = 'D'`, or cast it to boolean".to_owned();
        self.error("type-mismatch", sql.span, message, Some(help));
        None
    }

    /// What an expression about one row may not hold, and functions that do not exist.
    fn refused(&self, facts: &Facts, text: &SqlText<'_>) -> Vec<Diagnostic> {
        let one_row = "silver expressions see one row at a time; do this in a gold table";
        let mut found = Vec::new();
        for span in &facts.subqueries {
            found.push(text.error("not-allowed", text.span(*span), "a subquery is not allowed here").with_help(one_row));
        }
        for (name, span) in &facts.placeholders {
            let help = "write the value, or fill it in with `${NAME}`";
            found.push(text.error("not-allowed", text.span(*span), format!("nobody gives `{name}` a value")).with_help(help));
        }
        for span in &facts.wildcards {
            let help = "name the column; leave `select` out to keep all columns";
            found.push(text.error("not-allowed", text.span(*span), "`*` is not a value").with_help(help));
        }
        found.extend(late_fields(facts, text));
        for call in &facts.calls {
            let scalar = self.state.scalar_functions().contains_key(&call.name)
                || self.state.higher_order_functions().contains_key(&call.name);
            let kind = match () {
                () if call.window || self.state.window_functions().contains_key(&call.name) && !scalar => "a window function",
                () if self.state.aggregate_functions().contains_key(&call.name) && !scalar => "an aggregate",
                () if matches!(call.name.as_str(), "unnest" | "grouping") && !scalar => "a function over several rows",
                () => {
                    found.extend(self.unknown_function(call, text));
                    continue;
                }
            };
            let message = format!("`{}` is {kind}, which is not allowed here", call.name);
            found.push(text.error("not-allowed", text.span(call.span), message).with_help(one_row));
        }
        found
    }

    /// The finding about a function that does not exist.
    pub(super) fn unknown_function(&self, call: &Call, text: &SqlText<'_>) -> Option<Diagnostic> {
        if call.bare || self.functions.contains(&call.name) {
            return None;
        }
        let help = did_you_mean(&call.name, self.functions.iter().map(String::as_str))
            .unwrap_or_else(|| "the functions are those of DataFusion's SQL reference".to_owned());
        let message = format!("there is no function `{}`", call.name);
        Some(text.error("unknown-function", text.span(call.span), message).with_help(help))
    }

    /// The finding about a column, or a field of one, that does not exist.
    fn unresolved(&self, name: &Name, scope: &Scope, text: &SqlText<'_>) -> Option<Diagnostic> {
        let (first, rest) = name.parts.split_first()?;
        // A name with `@` is a variable, which the planner refuses.
        if scope.broken.contains(&first.value) || first.value.starts_with('@') {
            return None;
        }
        let Ok(field) = scope.schema.field_with_name(&first.value) else { return Some(scope.unknown_column(name, text)) };
        let mut path = first.value.clone();
        let mut data_type = field.data_type();
        for part in rest {
            let span = text.span(part.span);
            let fields = match data_type {
                DataType::Struct(fields) => fields,
                DataType::Map(..) => return None,
                other => {
                    let message = format!("`{path}` is {} and has no field `{}`", types::display(other), part.value);
                    let diagnostic = text.error("unknown-column", span, message);
                    return Some(match other {
                        DataType::List(_) => diagnostic.with_help(format!("take one item first: `{path}[1]`")),
                        _ => diagnostic,
                    });
                }
            };
            let Some((_, field)) = fields.find(&part.value) else {
                let known: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
                let message = format!("`{path}` has no field `{}`", part.value);
                let diagnostic = text.error("unknown-column", span, message);
                let listed =
                    || format!("its fields are {}", known.iter().take(MAX_LISTED).copied().collect::<Vec<_>>().join(", "));
                let help = did_you_mean(&part.value, known.iter().copied()).unwrap_or_else(listed);
                return Some(diagnostic.with_help(help));
            };
            path = format!("{path}.{}", part.value);
            data_type = field.data_type();
        }
        None
    }

    fn plan(&self, parsed: ast::Expr, scope: &Scope) -> Result<Typed, DataFusionError> {
        let with_alias = ast::ExprWithAlias { expr: parsed, alias: None };
        let expr = self.state.create_logical_expr_from_sql_expr(with_alias, &scope.planned)?;
        let expr = expr.unalias_nested().data;
        if expr.exists(|e| Ok(!is_about_one_row(e)))? {
            return Err(DataFusionError::Plan("this is not a value of one row".to_owned()));
        }
        let coerced = expr.clone().rewrite(&mut TypeCoercionRewriter::new(&scope.planned))?.data;
        let data_type = coerced.get_type(&scope.planned)?;
        Ok(Typed { expr, data_type })
    }

    /// The planner's complaint, at the smallest part of the expression that it has it about.
    fn place(&self, parsed: &ast::Expr, error: &DataFusionError, scope: &Scope, facts: &Facts, text: &SqlText<'_>) -> Diagnostic {
        let mut parts = Parts { parts: Vec::new() };
        let _ = parsed.visit(&mut parts);
        let smallest = parts.parts.into_iter().find_map(|part| {
            let span = part.span();
            self.plan(part, scope).err().map(|error| (span, error))
        });
        let calls: Vec<Spanned<String>> = facts.calls.iter().map(|c| Spanned::new(c.name.clone(), text.span(c.span))).collect();
        match smallest {
            Some((span, error)) => Diagnostic { span: text.expression_span(span), ..text.planner_error(&error, &calls) },
            None => text.planner_error(error, &calls),
        }
    }

    /// Warns when `expr` gives another value each time it is asked.
    pub(super) fn warn_if_volatile(&mut self, expr: &Expr, sql: &Spanned<String>) {
        if expr.is_volatile() {
            let message = "this gives another value each time it is computed, so a rebuild gives other rows";
            let help = "derive the value from the row, for example with `sha256` or `md5`";
            self.diagnostics.push(Diagnostic::warning("volatile", self.source, sql.span, message).with_help(help));
        }
    }
}

/// The findings about `tags[1].name`, which the planner cannot read.
pub(super) fn late_fields(facts: &Facts, text: &SqlText<'_>) -> Vec<Diagnostic> {
    let finding = |field: &ast::Ident| {
        let message = format!("`.{}` cannot follow a bracket", field.value);
        text.error("sql-syntax", text.span(field.span), message).with_help(format!("write `['{}']`", field.value))
    };
    facts.late_fields.iter().map(finding).collect()
}

/// The parts of an expression, inner ones first.
struct Parts {
    parts: Vec<ast::Expr>,
}

impl Visitor for Parts {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
        // The parameters of a lambda mean nothing outside of it.
        if matches!(expression, ast::Expr::Lambda(_)) {
            self.parts.clear();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &ast::Expr) -> ControlFlow<()> {
        if self.parts.len() >= MAX_TRIED {
            return ControlFlow::Break(());
        }
        self.parts.push(expression.clone());
        ControlFlow::Continue(())
    }
}

#[expect(deprecated, reason = "the wildcard is one of the kinds to refuse")]
fn is_about_one_row(expr: &Expr) -> bool {
    !matches!(
        expr,
        Expr::AggregateFunction(_)
            | Expr::WindowFunction(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::ScalarSubquery(_)
            | Expr::Wildcard { .. }
            | Expr::GroupingSet(_)
            | Expr::Placeholder(_)
            | Expr::OuterReferenceColumn(..)
            | Expr::ScalarVariable(..)
            | Expr::Unnest(_)
    )
}
