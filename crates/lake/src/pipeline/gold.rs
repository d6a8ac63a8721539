//! A gold table: its query planned over empty tables, and the columns it gives.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{self, Query, SelectItem, SetExpr, Spanned as _, VisitMut, VisitorMut};
use futures::FutureExt;

use super::compile::{CompiledGold, Planner, fingerprint};
use super::complaint::missing_column;
use super::expression::late_fields;
use super::fact::{Facts, Name};
use super::graph::GoldQuery;
use super::model::{GoldTable, TableName};
use super::name::{column_refusal, did_you_mean};
use super::sql::SqlText;
use super::types;
use crate::WORKSPACE_COLUMN;
use crate::diagnostic::{Diagnostic, Span, Spanned, nearest};

/// How many unknown columns of one query are told at once.
const MAX_MISSING: usize = 20;

/// Compiles `table`, whose inputs are registered with the planner. Findings go to `planner`; `sampled` is what to do about a column
/// that a sample of an input did not show.
pub(super) fn compile_gold(
    planner: &mut Planner<'_>,
    table: &GoldTable,
    parsed: &GoldQuery,
    inputs: &[TableName],
    sampled: Option<String>,
) -> Option<CompiledGold> {
    let text = SqlText::new(planner.source, &table.sql);
    let work = Work { planner, query: &parsed.query, facts: Facts::of_query(&parsed.query), text, sampled };
    let compiled = work.refuse(parsed).and_then(|()| work.plan()).and_then(|plan| {
        let schema = work.columns(&plan)?;
        let columns = schema.fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type()));
        let parts: Vec<String> = ["gold.v1".to_owned(), parsed.query.to_string()].into_iter().chain(columns).collect();
        Ok(CompiledGold {
            name: table.name.value.clone(),
            inputs: inputs.to_vec(),
            sql: work.text.plannable(),
            schema,
            plan,
            fingerprint: fingerprint(parts.iter().map(String::as_str)),
        })
    });
    match compiled {
        Ok(compiled) => Some(compiled),
        Err(found) => {
            planner.diagnostics.extend(found);
            None
        }
    }
}

struct Work<'w, 'p> {
    planner: &'w Planner<'p>,
    query: &'w Query,
    facts: Facts,
    text: SqlText<'w>,
    sampled: Option<String>,
}

impl Work<'_, '_> {
    /// What can be told without a plan: writes, values that nobody gives, functions that do not exist.
    fn refuse(&self, parsed: &GoldQuery) -> Result<(), Vec<Diagnostic>> {
        let mut found: Vec<Diagnostic> = Vec::new();
        if !self.facts.writes.is_empty() {
            found.push(self.text.not_a_query());
        }
        for (name, span) in &self.facts.placeholders {
            let help = "write the value, or fill it in with `${NAME}`";
            let message = format!("nobody gives `{name}` a value");
            found.push(self.text.error("not-allowed", self.text.span(*span), message).with_help(help));
        }
        for call in &parsed.table_calls {
            let functions = self.planner.state.table_functions();
            if !functions.contains_key(&call.name.to_lowercase()) {
                let help = did_you_mean(&call.name, functions.keys().map(String::as_str))
                    .unwrap_or_else(|| "read a table of the lake, written as `silver.name`".to_owned());
                let message = format!("there is no table function `{}`", call.name);
                found.push(self.text.error("unknown-function", self.text.span(call.span), message).with_help(help));
            }
        }
        found.extend(late_fields(&self.facts, &self.text));
        found.extend(self.facts.calls.iter().filter_map(|call| self.planner.unknown_function(call, &self.text)));
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    /// The plan. The planner stops at the first column it does not know; with that column put aside it is asked again, so that all of
    /// them are told.
    fn plan(&self) -> Result<LogicalPlan, Vec<Diagnostic>> {
        let mut query = self.query.clone();
        let mut found: Vec<Diagnostic> = Vec::new();
        while found.len() < MAX_MISSING {
            let error = match self.plan_once(&query) {
                Ok(plan) if found.is_empty() => return Ok(plan),
                Ok(_) => break,
                Err(error) => error,
            };
            let missing = missing_column(&error).and_then(|(parts, known)| Some((self.mention(&parts)?, known)));
            let Some((mention, known)) = missing else {
                // After a column was put aside, other complaints may come from that.
                if found.is_empty() {
                    found.push(self.complaint(&error));
                }
                break;
            };
            if !put_aside(&mut query, &mention.words()) {
                break;
            }
            found.push(self.unknown_column(mention, &known));
        }
        Err(found)
    }

    fn plan_once(&self, query: &Query) -> Result<LogicalPlan, DataFusionError> {
        let statement = Statement::Statement(Box::new(ast::Statement::Query(Box::new(query.clone()))));
        // Every table is in memory, so nothing is waited for.
        let planned = self.planner.state.statement_to_plan(statement).now_or_never();
        let plan = planned.unwrap_or_else(|| Err(DataFusionError::Internal("planning waits for a table".to_owned())))?;
        let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        only_queries.verify_plan(&plan)?;
        Ok(plan)
    }

    /// Where the column that the planner missed was written.
    fn mention(&self, parts: &[String]) -> Option<&Name> {
        let same = |name: &&Name| name.words() == *parts;
        let ends = |name: &&Name| name.words().last().copied() == parts.last().map(String::as_str);
        self.facts.columns.iter().find(same).or_else(|| self.facts.columns.iter().find(ends))
    }

    fn unknown_column(&self, mention: &Name, known: &BTreeSet<String>) -> Diagnostic {
        let words = mention.words();
        let written = words.join(".");
        let last = words.last().copied().unwrap_or_default();
        let diagnostic =
            self.text.error("unknown-column", self.text.span(mention.span()), format!("there is no column `{written}`"));
        let quoted = mention.parts.last().is_some_and(|p| p.quote_style == Some('"'));
        if quoted {
            return diagnostic.with_help(format!("a text is written in single quotes: `'{last}'`"));
        }
        let before: String = words.iter().take(words.len().saturating_sub(1)).map(|w| format!("{w}.")).collect();
        let near = nearest(last, known.iter().map(String::as_str)).map(|near| format!("did you mean `{before}{near}`?"));
        let help = match (near, &self.sampled) {
            (Some(near), None) => near,
            (Some(near), Some(sampled)) => format!("{near} If the data has `{last}`, {sampled}"),
            (None, Some(sampled)) => {
                format!("it was not in the part of the data that was looked at; if the data has it, {sampled}")
            }
            (None, None) if known.is_empty() => return diagnostic,
            (None, None) => {
                let names: Vec<String> = known.iter().take(12).map(|n| format!("`{n}`")).collect();
                let more = if known.len() > 12 { " and more" } else { "" };
                format!("the columns here are {}{more}", names.join(", "))
            }
        };
        diagnostic.with_help(help)
    }

    fn complaint(&self, error: &DataFusionError) -> Diagnostic {
        let calls = self.facts.calls.iter().map(|c| Spanned::new(c.name.clone(), self.text.span(c.span)));
        self.text.planner_error(error, &calls.collect::<Vec<_>>())
    }

    /// A finding about types, at the columns of the smallest part of the plan that does not fit.
    fn misfit(&self, plan: &LogicalPlan, error: &DataFusionError) -> Diagnostic {
        let Some((expr, cause)) = find_misfit(plan) else { return self.complaint(error) };
        let places: Vec<Span> = expr
            .column_refs()
            .iter()
            .filter_map(|column| column.spans().first())
            .map(|span| self.text.planned_span(&span))
            .collect();
        let diagnostic = self.complaint(&cause);
        match (places.iter().map(|s| s.start).min(), places.iter().map(|s| s.end).max()) {
            (Some(start), Some(end)) if diagnostic.span == self.text.whole() => {
                Diagnostic { span: Span::new(start, end), ..diagnostic }
            }
            _ => diagnostic,
        }
    }

    /// The columns that the table stores.
    fn columns(&self, plan: &LogicalPlan) -> Result<SchemaRef, Vec<Diagnostic>> {
        let analyzer = self.planner.state.analyzer();
        let options = self.planner.state.config_options();
        let analyzed =
            analyzer.execute_and_check(plan.clone(), options, |_, _| {}).map_err(|error| vec![self.misfit(plan, &error)])?;
        let mut found = Vec::new();
        let mut fields: Vec<Field> = Vec::new();
        let mut seen = BTreeSet::new();
        let output: &DFSchema = analyzed.schema();
        for (index, field) in output.fields().iter().enumerate() {
            let name = plan.schema().fields().get(index).map_or(field.name(), |f| f.name());
            if name == WORKSPACE_COLUMN {
                continue;
            }
            let place = || self.item_span(index, output.fields().len());
            if self.is_nameless(index, output.fields().len()) || looks_computed(name) {
                let help = "give it a name: `AS n`";
                found.push(self.text.error("bad-name", place(), "a column has no name").with_help(help));
            } else if let Some(why) = column_refusal(name) {
                let help = "give it another name with `AS`";
                found.push(self.text.error("bad-name", place(), format!("the column's name {why}")).with_help(help));
            } else if !seen.insert(name.to_lowercase()) {
                let help = "rename one of them with `AS`, or list the columns instead of `*`";
                found.push(
                    self.text.error("duplicate-column", place(), format!("there are two columns `{name}`")).with_help(help),
                );
            } else {
                match types::storable(field.data_type()) {
                    Ok(data_type) => fields.push(Field::new(name, data_type, true)),
                    Err(why) => {
                        let help = "give it a type, such as `CAST(... AS VARCHAR)`";
                        found.push(self.text.error("type-mismatch", place(), format!("`{name}` {why}")).with_help(help));
                    }
                }
            }
        }
        if fields.is_empty() && found.is_empty() {
            let help = "select at least one column beside `workspace_id`";
            found.push(self.text.error("missing-column", self.text.whole(), "the table has no columns").with_help(help));
        }
        if found.is_empty() { Ok(Arc::new(Schema::new(fields))) } else { Err(found) }
    }

    /// The item of the outermost SELECT that gives the column, where that can be told.
    fn item(&self, index: usize, columns: usize) -> Option<&SelectItem> {
        let items = projection(&self.query.body)?;
        let is_star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
        match items.iter().position(is_star) {
            None if items.len() == columns => items.get(index),
            None => None,
            Some(star) if index < star => items.get(index),
            // Behind one star, items are counted from the end.
            Some(star) if items.iter().filter(|i| is_star(i)).count() == 1 => {
                let from_end = columns.checked_sub(index)?;
                items.len().checked_sub(from_end).filter(|at| *at > star).and_then(|at| items.get(at))
            }
            Some(_) => None,
        }
    }

    fn item_span(&self, index: usize, columns: usize) -> Span {
        self.item(index, columns).map_or_else(|| self.text.whole(), |item| self.text.expression_span(item.span()))
    }

    /// Whether the column is computed and was given no name.
    fn is_nameless(&self, index: usize, columns: usize) -> bool {
        match self.item(index, columns) {
            Some(SelectItem::UnnamedExpr(expr)) => !matches!(expr, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_)),
            _ => false,
        }
    }
}

/// The smallest expression of the plan whose types do not fit, and why.
fn find_misfit(plan: &LogicalPlan) -> Option<(Expr, DataFusionError)> {
    let mut found = None;
    let _ = plan.apply_with_subqueries(|node| {
        let mut schema = DFSchema::empty();
        for input in node.inputs() {
            schema.merge(input.schema());
        }
        found = node.expressions().iter().find_map(|expr| smallest_misfit(expr, &schema)).or_else(|| found.take());
        Ok(TreeNodeRecursion::Continue)
    });
    found
}

fn smallest_misfit(expr: &Expr, schema: &DFSchema) -> Option<(Expr, DataFusionError)> {
    let cause = expr.clone().rewrite(&mut TypeCoercionRewriter::new(schema)).err()?;
    let mut smaller = None;
    let _ = expr.apply_children(|child| {
        smaller = smallest_misfit(child, schema);
        Ok(if smaller.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    Some(smaller.unwrap_or_else(|| (expr.clone(), cause)))
}

/// Whether the planner made the name up, from a call or from the field of a struct.
fn looks_computed(name: &str) -> bool {
    name.contains(['(', '[', '{'])
}

fn projection(body: &SetExpr) -> Option<&[SelectItem]> {
    let mut body = body;
    loop {
        body = match body {
            SetExpr::Select(select) => return Some(&select.projection),
            SetExpr::Query(query) => query.body.as_ref(),
            SetExpr::SetOperation { left, .. } => left.as_ref(),
            _ => return None,
        };
    }
}

/// Puts NULL in the place of a column, wherever it is written so. Whether there was such a place.
fn put_aside(query: &mut Query, words: &[&str]) -> bool {
    let mut visitor = PutAside { words, done: false };
    let _ = query.visit(&mut visitor);
    visitor.done
}

struct PutAside<'a> {
    words: &'a [&'a str],
    done: bool,
}

impl VisitorMut for PutAside<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut ast::Expr) -> ControlFlow<()> {
        let same = match expression {
            ast::Expr::Identifier(ident) => self.words == [ident.value.as_str()],
            ast::Expr::CompoundIdentifier(parts) => parts.iter().map(|p| p.value.as_str()).eq(self.words.iter().copied()),
            _ => false,
        };
        if same {
            *expression = ast::Expr::Value(ast::Value::Null.with_empty_span());
            self.done = true;
        }
        ControlFlow::Continue(())
    }
}
