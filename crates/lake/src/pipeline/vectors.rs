//! A vector table: which rows have vectors, of what text, and what is kept beside them.

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::logical_expr::Expr;

use super::compile::{OutputColumn, Planner, fingerprint};
use super::expression::Scope;
use super::model::{Properties, TableName, VectorTable};
use super::name::did_you_mean;
use super::origin::as_written;
use super::types;
use crate::WORKSPACE_COLUMN;
use crate::diagnostic::Spanned;
use crate::embed::Chunking;

/// Columns of every vector table, which no payload field may be called.
pub const VECTOR_COLUMNS: [&str; 7] = ["point_id", "row_key", "chunk", "chunks", "text", "embedding", "hash"];

/// A vector table, ready to be built.
#[derive(Debug, Clone)]
pub struct CompiledVectors {
    /// The table.
    pub name: TableName,
    /// The table it follows.
    pub input: TableName,
    /// Columns of the input that tell one row from another.
    pub id: Vec<String>,
    /// The text, over the input's columns.
    pub text: Expr,
    /// What is kept beside the vector, over the input's columns.
    pub payload: Vec<OutputColumn>,
    /// Rows for which it does not hold have no vectors.
    pub filter: Option<Expr>,
    /// How texts are cut.
    pub chunking: Option<Chunking>,
    /// A hash, not negative, of all of the above.
    pub fingerprint: i64,
}

/// Compiles `table`, which follows a table with the columns `source`. Findings go to `planner`.
pub(super) fn compile_vectors(
    planner: &mut Planner<'_>,
    table: &VectorTable,
    source: &SchemaRef,
    key: &[String],
) -> Option<CompiledVectors> {
    let before = planner.errors();
    let own = Schema::new(source.fields().iter().filter(|f| f.name() != WORKSPACE_COLUMN).cloned().collect::<Vec<_>>());
    let scope = Scope::new(&std::sync::Arc::new(own), format!("`{}`", table.from.value), None).ok()?;
    let id = ids(planner, table, source, key);
    let text = planner.expression(&table.embed, &scope).and_then(|typed| match typed.data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(typed.expr),
        other => {
            let message = format!("`embed` is a text, but this is {}", types::display(&other));
            let help = "make a text of it, such as `CAST(... AS VARCHAR)`".to_owned();
            planner.error("type-mismatch", table.embed.span, message, Some(help));
            None
        }
    });
    let there = missing_columns(planner, source, &table.from.value, &table.payload);
    let payload = there.into_iter().filter_map(|(name, sql)| field(planner, &scope, name, sql)).collect::<Vec<_>>();
    check_names(planner, &table.payload);
    let filter = table.filter.as_ref().and_then(|sql| planner.condition(sql, &scope, "`where`"));
    if planner.errors() > before {
        return None;
    }
    let mut compiled = CompiledVectors {
        name: table.name.value.clone(),
        input: table.from.value.clone(),
        id,
        text: text?,
        payload,
        filter,
        chunking: table.chunk.as_ref().map(|c| c.value),
        fingerprint: 0,
    };
    compiled.fingerprint = vectors_fingerprint(&compiled);
    Some(compiled)
}

/// A value that a sink keeps, of a type that Delta has.
fn field(planner: &mut Planner<'_>, scope: &Scope, name: &Spanned<String>, sql: &Spanned<String>) -> Option<OutputColumn> {
    let typed = planner.expression(sql, scope)?;
    match types::storable(&typed.data_type) {
        Ok(data_type) => Some(OutputColumn { name: name.value.clone(), expr: typed.expr, data_type, required: false }),
        Err(why) => {
            let help = "give it a type, such as `CAST(... AS VARCHAR)`".to_owned();
            planner.error("type-mismatch", sql.span, format!("`{}` {why}", name.value), Some(help));
            None
        }
    }
}

/// The properties without those that only name a column which is not there; these are reported.
pub(super) fn missing_columns<'p>(
    planner: &mut Planner<'_>,
    source: &SchemaRef,
    table: &TableName,
    properties: &'p Properties,
) -> Vec<&'p (Spanned<String>, Spanned<String>)> {
    let names: Vec<&str> = source.fields().iter().map(|f| f.name().as_str()).filter(|n| *n != WORKSPACE_COLUMN).collect();
    let mut there = vec![];
    for property in properties {
        let (name, sql) = property;
        let listed = sql.span == name.span;
        if !listed || names.contains(&name.value.as_str()) {
            there.push(property);
            continue;
        }
        let written = as_written(planner.source, name).to_owned();
        let message = format!("there is no column `{written}` in `{table}`");
        planner.error("unknown-column", name.span, message, did_you_mean(&name.value, names.iter().copied()));
    }
    there
}

fn check_names(planner: &mut Planner<'_>, payload: &[(Spanned<String>, Spanned<String>)]) {
    for (at, (name, _)) in payload.iter().enumerate() {
        if name.value == WORKSPACE_COLUMN || VECTOR_COLUMNS.contains(&name.value.as_str()) {
            let message = format!("`{}` is a column that every vector table has", name.value);
            let help = "give it another name: `payload: { my_name: ... }`".to_owned();
            planner.error("bad-name", name.span, message, Some(help));
        } else if payload.iter().take(at).any(|(other, _)| other.value.to_lowercase() == name.value.to_lowercase()) {
            let message = format!("`{}` is in the payload twice", name.value);
            planner.error("duplicate-column", name.span, message, Some("rename one of them".to_owned()));
        }
    }
}

fn ids(planner: &mut Planner<'_>, table: &VectorTable, source: &SchemaRef, key: &[String]) -> Vec<String> {
    if table.id.is_empty() {
        if key.is_empty() {
            let message = format!("`{}` has no `id`", table.name.value);
            let help = format!("add `id:` with the columns that tell one row of `{}` from another", table.from.value);
            planner.error("missing-key", table.name.span, message, Some(help));
        }
        return key.to_vec();
    }
    let names: Vec<&str> = source.fields().iter().map(|f| f.name().as_str()).filter(|n| *n != WORKSPACE_COLUMN).collect();
    for column in &table.id {
        match source.field_with_name(&column.value) {
            Ok(field) if !types::is_nested(field.data_type()) && column.value != WORKSPACE_COLUMN => {}
            Ok(field) => {
                let message =
                    format!("`{}` is {}, which cannot tell rows apart", column.value, types::display(field.data_type()));
                planner.error("type-mismatch", column.span, message, Some("use columns with plain values".to_owned()));
            }
            Err(_) => {
                let written = as_written(planner.source, column).to_owned();
                let message = format!("there is no column `{written}` in `{}`", table.from.value);
                let help = did_you_mean(&column.value, names.iter().copied());
                planner.error("unknown-column", column.span, message, help);
            }
        }
    }
    table.id.iter().map(|c| c.value.clone()).collect()
}

fn vectors_fingerprint(table: &CompiledVectors) -> i64 {
    let mut parts = vec!["vectors.v1".to_owned(), table.input.to_string()];
    parts.extend(table.id.iter().cloned());
    parts.extend(["text".to_owned(), table.text.to_string(), "payload".to_owned()]);
    for column in &table.payload {
        parts.extend([column.name.clone(), column.expr.to_string(), column.data_type.to_string()]);
    }
    parts.extend(["where".to_owned(), table.filter.as_ref().map(Expr::to_string).unwrap_or_default()]);
    parts.push(table.chunking.map(|c| format!("{c:?}")).unwrap_or_default());
    fingerprint(parts.iter().map(String::as_str))
}
