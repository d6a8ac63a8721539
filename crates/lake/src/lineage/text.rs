//! The SQL that computes a column, in terms of the columns of source tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::Expr;
use datafusion::sql::unparser::Unparser;
use datafusion::sql::unparser::dialect::{DefaultDialect, Dialect};

use super::scope::Scope;

/// Past this many nodes an expression keeps the names of its own query. Each step of a chain of CTEs can double the
/// expression, and nobody reads it by then.
const MAX_EXPANDED_NODES: usize = 200;

/// Past this many nodes there is no text. Copying and printing an expression recurse without a guard, so one that nests
/// this deep could overflow the stack.
const MAX_NODES: usize = 1_000;

/// Past this many characters the text is cut.
const MAX_CHARS: usize = 2_000;

/// The default dialect, with the schema in a qualified name.
struct SourceDialect;

impl Dialect for SourceDialect {
    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        DefaultDialect {}.identifier_quote_style(identifier)
    }

    fn full_qualified_col(&self) -> bool {
        true
    }
}

/// `expr` with each of its columns replaced by what computes it; `None` if it is too large to tell.
pub(super) fn definition(expr: &Expr, scope: &Scope<'_>) -> Option<Arc<Expr>> {
    if node_count(expr) > MAX_NODES {
        return None;
    }
    let local = expr.clone().unalias_nested().data;
    let expanded = local.clone().transform_down(|node| {
        let origin = match &node {
            Expr::Column(column) => scope.column(column),
            Expr::OuterReferenceColumn(_, column) => scope.outer_column(column),
            _ => return Ok(Transformed::no(node)),
        };
        let replacement = origin.definition.map_or(node, |known| known.as_ref().clone());
        Ok(Transformed::new(replacement, true, TreeNodeRecursion::Jump))
    });
    match expanded {
        Ok(expanded) if node_count(&expanded.data) <= MAX_EXPANDED_NODES => Some(Arc::new(expanded.data)),
        _ => Some(Arc::new(local)),
    }
}

/// The SQL of `expr`. Columns are qualified only where they come from more than one dataset.
pub(super) fn sql(expr: &Expr) -> String {
    let short = if qualifiers(expr).len() > 1 { expr.clone() } else { unqualified(expr) };
    let unparser = Unparser::new(&SourceDialect).with_pretty(true);
    let mut text = unparser.expr_to_sql(&short).map_or_else(|_| short.to_string(), |sql| sql.to_string());
    if let Some((cut, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(cut);
        text.push('…');
    }
    text
}

fn node_count(expr: &Expr) -> usize {
    let mut nodes = 0;
    visit(expr, |_| nodes += 1);
    nodes
}

fn qualifiers(expr: &Expr) -> BTreeSet<TableReference> {
    let mut found = BTreeSet::new();
    visit(expr, |node| {
        if let Expr::Column(Column { relation: Some(relation), .. }) = node {
            found.insert(relation.clone());
        }
    });
    found
}

fn unqualified(expr: &Expr) -> Expr {
    let stripped = expr.clone().transform_up(|node| match node {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::from_name(column.name)))),
        node => Ok(Transformed::no(node)),
    });
    stripped.map_or_else(|_| expr.clone(), |stripped| stripped.data)
}

fn visit(expr: &Expr, mut visitor: impl FnMut(&Expr)) {
    // The visitor cannot fail, and neither can the walk.
    let _ = expr.apply(|node| {
        visitor(node);
        Ok(TreeNodeRecursion::Continue)
    });
}
