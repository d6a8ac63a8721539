//! What an SQL text speaks of, with places: columns, functions, tables, and what is not allowed in it.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, FunctionArguments, Ident, ObjectName, Query, Select, Spanned as _, Statement, TableFactor, Value,
    ValueWithSpan, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Span as SqlSpan;

/// The deepest tree of an expression. Trees are copied by recursion, at some kilobytes of stack for each level.
pub(super) const MAX_DEPTH: usize = 200;

/// Whether a text that was parsed is nested deeper than [`MAX_DEPTH`].
pub(super) fn is_too_deep(parsed: &impl Visit) -> bool {
    parsed.visit(&mut DepthVisitor { depth: 0 }).is_break()
}

struct DepthVisitor {
    depth: usize,
}

impl Visitor for DepthVisitor {
    type Break = ();

    fn pre_visit_expr(&mut self, _expression: &Expr) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn post_visit_expr(&mut self, _expression: &Expr) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// A name of one or more parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub(super) parts: Vec<Ident>,
}

impl Name {
    /// From the first part to the last.
    pub(super) fn span(&self) -> SqlSpan {
        match (self.parts.first(), self.parts.last()) {
            (Some(first), Some(last)) => first.span.union(&last.span),
            _ => SqlSpan::empty(),
        }
    }

    /// The parts as text.
    pub(super) fn words(&self) -> Vec<&str> {
        self.parts.iter().map(|p| p.value.as_str()).collect()
    }
}

/// A function call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    /// Lower case unless it was quoted, as the planner looks it up.
    pub(super) name: String,
    pub(super) span: SqlSpan,
    /// It has an `OVER` clause.
    pub(super) window: bool,
    /// It was written without brackets, and may be a column.
    pub(super) bare: bool,
}

/// What a text speaks of, in the order of the text. Columns and calls inside subqueries are left out of an expression's facts.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) columns: Vec<Name>,
    pub(super) calls: Vec<Call>,
    pub(super) subqueries: Vec<SqlSpan>,
    pub(super) placeholders: Vec<(String, SqlSpan)>,
    pub(super) wildcards: Vec<SqlSpan>,
    /// Statements and `INTO` inside a query.
    pub(super) writes: Vec<SqlSpan>,
    /// `.field` behind something that is no plain name, which the planner does not know.
    pub(super) late_fields: Vec<Ident>,
}

impl Facts {
    /// The facts of a silver expression.
    pub(super) fn of_expression(expression: &Expr) -> Self {
        let mut visitor =
            FactVisitor { facts: Facts::default(), skip_subqueries: true, depth: 0, lambdas: Vec::new(), seen: Vec::new() };
        let _ = expression.visit(&mut visitor);
        visitor.facts
    }

    /// The facts of a query, its subqueries included.
    pub(super) fn of_query(query: &Query) -> Self {
        let mut visitor =
            FactVisitor { facts: Facts::default(), skip_subqueries: false, depth: 0, lambdas: Vec::new(), seen: Vec::new() };
        let _ = query.visit(&mut visitor);
        visitor.facts
    }
}

struct FactVisitor {
    facts: Facts,
    skip_subqueries: bool,
    depth: usize,
    lambdas: Vec<String>,
    /// Names inside a larger one that has been noted.
    seen: Vec<SqlSpan>,
}

impl FactVisitor {
    fn hidden(&self) -> bool {
        self.skip_subqueries && self.depth > 0
    }

    /// Notes `a.b[1].c`: the column `a.b`, and the field `c` that comes too late.
    fn field_access(&mut self, root: &Expr, chain: &[AccessExpr]) {
        let mut parts = match root {
            Expr::Identifier(ident) => vec![ident.clone()],
            Expr::CompoundIdentifier(parts) => parts.clone(),
            _ => Vec::new(),
        };
        self.seen.extend(parts.first().map(|p| p.span));
        let mut leading = !parts.is_empty();
        for access in chain {
            match access {
                AccessExpr::Dot(Expr::Identifier(field)) => {
                    self.seen.push(field.span);
                    if leading {
                        parts.push(field.clone());
                    } else {
                        self.facts.late_fields.push(field.clone());
                    }
                }
                _ => leading = false,
            }
        }
        self.column(parts);
    }

    fn column(&mut self, parts: Vec<Ident>) {
        if parts.first().is_some_and(|p| !self.lambdas.contains(&p.value)) {
            self.facts.columns.push(Name { parts });
        }
    }

    fn call(&mut self, name: &ObjectName, window: bool, bare: bool) {
        let parts: Vec<&Ident> = name.0.iter().filter_map(|p| p.as_ident()).collect();
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
        let text = match parts.as_slice() {
            [only] if only.quote_style.is_none() => only.value.to_lowercase(),
            [only] => only.value.clone(),
            _ => name.to_string(),
        };
        self.facts.calls.push(Call { name: text, span: first.span.union(&last.span), window, bare });
    }
}

impl Visitor for FactVisitor {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.skip_subqueries && self.depth == 0 {
            self.facts.subqueries.push(query.span());
        }
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        self.facts.writes.push(statement.span());
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let Some(into) = &select.into {
            self.facts.writes.push(into.name.span());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Lambda(lambda) = expression {
            self.lambdas.extend(lambda.params.iter().map(|p| p.name.value.clone()));
        }
        if self.hidden() {
            return ControlFlow::Continue(());
        }
        match expression {
            Expr::Identifier(ident) if !self.seen.contains(&ident.span) => self.column(vec![ident.clone()]),
            Expr::CompoundIdentifier(parts) if parts.first().is_none_or(|p| !self.seen.contains(&p.span)) => {
                self.column(parts.clone());
            }
            Expr::CompoundFieldAccess { root, access_chain } => self.field_access(root, access_chain),
            Expr::Function(function) => {
                let bare = function.args == FunctionArguments::None;
                self.call(&function.name, function.over.is_some(), bare);
            }
            Expr::Wildcard(token) => self.facts.wildcards.push(token.0.span),
            Expr::QualifiedWildcard(name, _) => self.facts.wildcards.push(name.span()),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Lambda(lambda) = expression {
            let kept = self.lambdas.len().saturating_sub(lambda.params.iter().count());
            self.lambdas.truncate(kept);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(name) = &value.value {
            self.facts.placeholders.push((name.clone(), value.span));
        }
        ControlFlow::Continue(())
    }
}

/// The tables that a query reads, common table expressions left out, each as often as it is written; and the table functions.
pub(super) fn tables(query: &Query) -> (Vec<Name>, Vec<Call>) {
    let mut visitor = TableVisitor { tables: Vec::new(), calls: Vec::new(), in_scope: Vec::new() };
    let _ = query.visit(&mut visitor);
    let mut tables = visitor.tables;
    // A common table expression is visited once before its name is known and once after.
    tables.sort_by_key(|t| t.span().start);
    tables.dedup_by_key(|t| t.span().start);
    let mut calls = visitor.calls;
    calls.sort_by_key(|c| c.span.start);
    calls.dedup_by_key(|c| c.span.start);
    (tables, calls)
}

struct TableVisitor {
    tables: Vec<Name>,
    calls: Vec<Call>,
    in_scope: Vec<String>,
}

impl TableVisitor {
    fn table(&mut self, name: &ObjectName) {
        let parts: Vec<Ident> = name.0.iter().filter_map(|p| p.as_ident().cloned()).collect();
        let known = matches!(parts.as_slice(), [only] if self.in_scope.contains(&only.value));
        if !known {
            self.tables.push(Name { parts });
        }
    }
}

impl Visitor for TableVisitor {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|w| w.cte_tables.iter().map(move |c| (w.recursive, c))) {
            // Without RECURSIVE, the name inside its own query is a table of that name.
            let (recursive, cte) = cte;
            if !recursive {
                cte.visit(self)?;
            }
            self.in_scope.push(cte.alias.name.value.clone());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let names = query.with.as_ref().map_or(0, |w| w.cte_tables.len());
        self.in_scope.truncate(self.in_scope.len().saturating_sub(names));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let (name, is_call) = match factor {
            TableFactor::Table { name, args, .. } => (name, args.is_some()),
            TableFactor::Function { name, .. } => (name, true),
            _ => return ControlFlow::Continue(()),
        };
        match name.0.first().and_then(|p| p.as_ident()) {
            Some(ident) if is_call => {
                let call = Call { name: name.to_string(), span: ident.span, window: false, bare: false };
                self.calls.push(call);
            }
            _ => self.table(name),
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::SetExpr;
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn query(sql: &str) -> Query {
        Parser::new(&GenericDialect {}).try_with_sql(sql).unwrap().parse_query().map(|q| *q).unwrap()
    }

    fn read(sql: &str) -> Vec<String> {
        tables(&query(sql)).0.iter().map(|t| t.words().join(".")).collect()
    }

    #[test]
    fn every_table_is_found_and_no_common_table_expression() {
        assert_eq!(read("SELECT * FROM silver.a JOIN silver.b ON true"), ["silver.a", "silver.b"]);
        assert_eq!(read("WITH t AS (SELECT * FROM silver.a) SELECT * FROM t, t AS u"), ["silver.a"]);
        assert_eq!(read("SELECT (SELECT max(x) FROM silver.b) FROM silver.a WHERE y IN (SELECT z FROM gold.c)").len(), 3);
        assert_eq!(read("WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT * FROM n"), [""; 0]);
        assert_eq!(read("WITH a AS (SELECT * FROM a) SELECT * FROM a"), ["a"]);
        assert_eq!(read("(WITH t AS (SELECT 1) SELECT * FROM t) UNION (SELECT * FROM t)"), ["t"]);
    }

    #[test]
    fn table_functions_are_not_tables() {
        let (tables, calls) = tables(&query("SELECT * FROM generate_series(1, 3) AS s, silver.a"));
        assert_eq!(tables.len(), 1);
        assert_eq!(calls[0].name, "generate_series");
    }

    #[test]
    fn writes_inside_a_query_are_seen() {
        assert_eq!(Facts::of_query(&query("SELECT a INTO t FROM silver.a")).writes.len(), 1);
        assert_eq!(Facts::of_query(&query("WITH x AS (SELECT 1) SELECT * FROM x")).writes.len(), 0);
        let inserting = query("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x");
        assert!(matches!(inserting.body.as_ref(), SetExpr::Insert(_)));
        assert_eq!(Facts::of_query(&inserting).writes.len(), 1);
    }

    #[test]
    fn an_expressions_columns_and_calls_come_with_their_names() {
        let mut parser =
            Parser::new(&GenericDialect {}).try_with_sql("Lower(author.name) || tags[x].y || (SELECT x) || $1").unwrap();
        let facts = Facts::of_expression(&parser.parse_expr().unwrap());
        assert_eq!(facts.columns.iter().map(|c| c.words().join(".")).collect::<Vec<_>>(), ["author.name", "tags", "x"]);
        assert_eq!(facts.late_fields[0].value, "y");
        assert_eq!(facts.calls[0].name, "lower");
        assert_eq!(facts.subqueries.len(), 1);
        assert_eq!(facts.placeholders[0].0, "$1");
    }
}
