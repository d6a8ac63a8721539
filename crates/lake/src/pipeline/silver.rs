//! A silver table: its columns from the entity or from `select`, its key, and its conditions.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::Expr;

use super::compile::{
    BronzeSchema, CompileInput, CompiledExpectation, CompiledSilver, EntityType, OutputColumn, Planner, fingerprint,
};
use super::expression::{Scope, Typed};
use super::model::SilverTable;
use super::name::{column_refusal, did_you_mean, is_platform_column, one_of};
use super::origin::as_written;
use super::types;
use crate::WORKSPACE_COLUMN;
use crate::diagnostic::{Span, Spanned};

/// What is known of a silver table after it was looked at.
pub(super) struct SilverOutcome {
    /// Its columns, when they are certain though something else may be wrong.
    pub(super) schema: Option<SchemaRef>,
    /// The table, when nothing is wrong.
    pub(super) compiled: Option<CompiledSilver>,
}

/// Compiles `table`, which reads `source`. Findings go to `planner`.
pub(super) fn compile_silver(
    planner: &mut Planner<'_>,
    table: &SilverTable,
    source: &BronzeSchema,
    input: &CompileInput<'_>,
) -> SilverOutcome {
    let before = planner.errors();
    let incomplete = (!source.complete).then(|| format!("declare it under `columns:` of `{}`", table.from.value));
    let scope = match Scope::new(&source.schema, format!("`{}`", table.from.value), incomplete.clone()) {
        Ok(scope) => scope,
        Err(_) => {
            let message = format!("`{}` has two columns of one name", table.from.value);
            planner.error("duplicate-column", table.from.span, message, None);
            return SilverOutcome { schema: None, compiled: None };
        }
    };
    let mut work = Work { planner, table, source, scope, columns: Vec::new(), broken: BTreeSet::new(), left_out: Vec::new() };
    let Some(key) = work.columns_and_key(input) else { return SilverOutcome { schema: None, compiled: None } };
    let certain = work.broken.is_empty() || table.entity.is_some();
    let schema = certain.then(|| work.output_schema());
    let compiled = work.rest(key, incomplete);
    let clean = planner.errors() == before;
    SilverOutcome { schema, compiled: compiled.filter(|_| clean) }
}

/// A column whose expression may be wrong though its name and type are certain.
struct Draft {
    name: String,
    expr: Option<Expr>,
    data_type: DataType,
    required: bool,
}

struct Work<'w, 'p> {
    planner: &'w mut Planner<'p>,
    table: &'w SilverTable,
    source: &'w BronzeSchema,
    scope: Scope,
    columns: Vec<Draft>,
    /// Columns of which not even the type is certain.
    broken: BTreeSet<String>,
    /// Attributes of the entity that have no source.
    left_out: Vec<String>,
}

impl Work<'_, '_> {
    /// The columns, and the key as indexes into them; `None` when the entity is not known.
    fn columns_and_key(&mut self, input: &CompileInput<'_>) -> Option<Vec<usize>> {
        let table = self.table;
        let Some(name) = &table.entity else {
            match table.select.as_slice() {
                [] => self.all_source_columns(),
                select => self.selected(select),
            }
            return Some(self.key(&table.key));
        };
        let Some(entity) = input.entities.iter().find(|e| e.name == name.value) else {
            self.unknown_entity(name, input);
            return None;
        };
        self.entity_columns(entity, name);
        if !table.key.is_empty() {
            return Some(self.key(&table.key));
        }
        let key = entity.key.iter().filter(|k| *k != WORKSPACE_COLUMN).map(|k| Spanned::new(k.clone(), name.span));
        Some(self.key(&key.collect::<Vec<_>>()))
    }

    fn unknown_entity(&mut self, name: &Spanned<String>, input: &CompileInput<'_>) {
        let known: Vec<&str> = input.entities.iter().map(|e| e.name.as_str()).collect();
        let help = match (known.as_slice(), &input.pipeline.ontology) {
            ([], None) => "pin a version of the ontology with `ontology:`".to_owned(),
            ([], Some(_)) => "the pinned version of the ontology has no entities".to_owned(),
            (known, _) => {
                did_you_mean(&name.value, known.iter().copied()).unwrap_or_else(|| format!("the ontology has {}", one_of(known)))
            }
        };
        let message = format!("the ontology has no entity `{}`", as_written(self.planner.source, name));
        self.planner.error("unknown-entity", name.span, message, Some(help));
    }

    fn refuse_workspace_column(&mut self, span: Span) {
        let message = format!("`{WORKSPACE_COLUMN}` cannot be selected");
        let help = "the platform adds it to every table; leave it out".to_owned();
        self.planner.error("bad-name", span, message, Some(help));
    }

    fn entity_columns(&mut self, entity: &EntityType, name: &Spanned<String>) {
        let attributes: Vec<&str> = entity.columns.iter().map(|(n, ..)| n.as_str()).collect();
        for (column, _) in &self.table.select {
            if column.value == WORKSPACE_COLUMN {
                self.refuse_workspace_column(column.span);
            } else if !attributes.contains(&column.value.as_str()) {
                let help = did_you_mean(&column.value, attributes.iter().copied())
                    .unwrap_or_else(|| format!("its attributes are {}", one_of(&attributes)));
                let message = format!("the entity `{}` has no attribute `{}`", entity.name, column.value);
                self.planner.error("unknown-column", column.span, message, Some(help));
            }
        }
        for (attribute, data_type, required) in entity.columns.iter().filter(|(n, ..)| n != WORKSPACE_COLUMN) {
            let entry = self.table.select.iter().find(|(column, _)| column.value == *attribute);
            let found = match entry {
                Some((_, sql)) => Some((self.planner.expression(sql, &self.scope), sql)),
                None => self.source_column(attribute).map(|typed| (Some(typed), name)),
            };
            let Some((typed, place)) = found else {
                if *required {
                    self.missing_attribute(attribute, entity, name);
                }
                self.left_out.push(attribute.clone());
                continue;
            };
            let expr = typed.and_then(|typed| self.fitting(typed, attribute, data_type, place));
            let draft = Draft { name: attribute.clone(), expr, data_type: data_type.clone(), required: *required };
            self.columns.push(draft);
        }
    }

    fn missing_attribute(&mut self, attribute: &str, entity: &EntityType, name: &Spanned<String>) {
        let message = format!(
            "the entity `{}` requires `{attribute}`, and `{}` has no column of that name",
            entity.name, self.table.from.value
        );
        let near = did_you_mean(
            attribute,
            self.source.schema.fields().iter().map(|f| f.name().as_str()).filter(|n| !is_platform_column(n)),
        );
        let example = near.and_then(|n| n.split('`').nth(1).map(str::to_owned)).unwrap_or_else(|| "...".to_owned());
        let help = format!("say where it comes from: `select: {{ {attribute}: {example} }}`");
        self.planner.error("missing-column", name.span, message, Some(help));
    }

    fn source_column(&self, name: &str) -> Option<Typed> {
        let field = self.source.schema.field_with_name(name).ok()?;
        Some(Typed { expr: Expr::Column(Column::new_unqualified(name)), data_type: field.data_type().clone() })
    }

    /// The expression when its values can be cast to the attribute's type.
    fn fitting(&mut self, typed: Typed, attribute: &str, to: &DataType, place: &Spanned<String>) -> Option<Expr> {
        if types::fits(&typed.data_type, to) {
            return Some(typed.expr);
        }
        let message =
            format!("`{attribute}` is {}, which {} cannot become", types::display(to), types::display(&typed.data_type));
        let help = match &typed.data_type {
            DataType::Struct(fields) => fields.first().map(|f| format!("take one of its fields, such as `.{}`", f.name())),
            DataType::List(_) => Some("take one of its items, such as `[1]`, or join them with `array_to_string`".to_owned()),
            _ => Some(format!("write an expression of type {}", types::display(to))),
        };
        self.planner.error("type-mismatch", place.span, message, help);
        None
    }

    fn selected(&mut self, select: &[(Spanned<String>, Spanned<String>)]) {
        for (name, sql) in select {
            if name.value == WORKSPACE_COLUMN {
                self.refuse_workspace_column(name.span);
                continue;
            }
            if let Some(first) = self.taken(&name.value) {
                let message = format!("`{}` and `{first}` are one name to readers that ignore case", name.value);
                self.planner.error("duplicate-column", name.span, message, Some("rename one of them".to_owned()));
                continue;
            }
            let typed = self.planner.expression(sql, &self.scope);
            let stored = typed.and_then(|typed| match types::storable(&typed.data_type) {
                Ok(data_type) => Some((typed.expr, data_type)),
                Err(why) => {
                    let help = "give it a type, such as `CAST(... AS VARCHAR)`".to_owned();
                    self.planner.error("type-mismatch", sql.span, format!("`{}` {why}", name.value), Some(help));
                    None
                }
            });
            match stored {
                Some((expr, data_type)) => {
                    self.columns.push(Draft { name: name.value.clone(), expr: Some(expr), data_type, required: false });
                }
                None => {
                    self.broken.insert(name.value.clone());
                }
            }
        }
    }

    /// The column that has this name already, ignoring case.
    fn taken(&self, name: &str) -> Option<String> {
        let lower = name.to_lowercase();
        let names = self.columns.iter().map(|c| &c.name).chain(&self.broken);
        names.into_iter().find(|n| n.to_lowercase() == lower).cloned()
    }

    fn all_source_columns(&mut self) {
        let source = self.source.schema.clone();
        for field in source.fields().iter().filter(|f| !is_platform_column(f.name())) {
            let name = field.name();
            let refusal = column_refusal(name).map(|why| format!("the column's name {why}"));
            let refusal = refusal
                .or_else(|| self.taken(name).map(|first| format!("and `{first}` are one name to readers that ignore case")));
            match (refusal, types::storable(field.data_type())) {
                (None, Ok(data_type)) => {
                    let expr = Some(Expr::Column(Column::new_unqualified(name)));
                    self.columns.push(Draft { name: name.clone(), expr, data_type, required: false });
                }
                (refusal, stored) => {
                    let why = refusal.or(stored.err()).unwrap_or_default();
                    let message = format!("`{name}` of `{}` cannot be kept as it is: {why}", self.table.from.value);
                    let help = "list the columns to keep under `select:`, with names and types of your own".to_owned();
                    self.planner.error("bad-name", self.table.from.span, message, Some(help));
                    self.broken.insert(name.clone());
                }
            }
        }
    }

    fn key(&mut self, key: &[Spanned<String>]) -> Vec<usize> {
        let mut indexes = Vec::with_capacity(key.len());
        for column in key {
            if self.broken.contains(&column.value) {
                continue;
            }
            let Some(index) = self.columns.iter().position(|c| c.name == column.value) else {
                self.unknown_key_column(column);
                continue;
            };
            let Some(draft) = self.columns.get_mut(index) else { continue };
            draft.required = true;
            if types::is_nested(&draft.data_type) {
                let message = format!("`{}` is {}, which cannot be a key", column.value, types::display(&draft.data_type));
                self.planner.error("type-mismatch", column.span, message, Some("use columns with plain values".to_owned()));
            }
            indexes.push(index);
        }
        indexes
    }

    fn unknown_key_column(&mut self, column: &Spanned<String>) {
        // A required attribute without a source has been reported.
        let reported = self.planner.diagnostics.iter().any(|d| d.code == "missing-column" && d.span == column.span);
        if reported {
            return;
        }
        if column.value == WORKSPACE_COLUMN {
            let help = "rows of two workspaces never meet, so the key needs no workspace".to_owned();
            self.planner.error("bad-name", column.span, format!("`{WORKSPACE_COLUMN}` cannot be in the key"), Some(help));
            return;
        }
        // Columns that are wrong or have no source are offered too: they are what the user had in mind.
        let sound = self.columns.iter().map(|c| c.name.as_str());
        let others = self.broken.iter().chain(&self.left_out).map(String::as_str);
        let names: Vec<&str> = sound.chain(others).collect();
        let help = did_you_mean(&column.value, names.iter().copied())
            .unwrap_or_else(|| format!("add `{}` to `select:`", as_written(self.planner.source, column)));
        let message = format!(
            "the key's column `{}` is not a column of `{}`",
            as_written(self.planner.source, column),
            self.table.name.value
        );
        self.planner.error("unknown-column", column.span, message, Some(help));
    }

    fn output_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The output columns, then the source columns whose name is free.
    fn check_schema(&self) -> SchemaRef {
        let output = self.output_schema();
        let source = self.source.schema.fields().iter().filter(|f| output.field_with_name(f.name()).is_err());
        let source = source.filter(|f| !self.broken.contains(f.name())).cloned();
        Arc::new(Schema::new(output.fields().iter().cloned().chain(source).collect::<Vec<_>>()))
    }

    fn rest(mut self, key: Vec<usize>, incomplete: Option<String>) -> Option<CompiledSilver> {
        let table = self.table;
        self.check_key_is_there(&key);
        let filter = self.source_condition(table.filter.as_ref(), "`where`");
        let delete_when = self.source_condition(table.delete_when.as_ref(), "`delete_when`");
        let check_schema = self.check_schema();
        let owner = format!("`{}` or `{}`", table.name.value, table.from.value);
        let checks = Scope::new(&check_schema, owner, incomplete).ok()?.with_broken(std::mem::take(&mut self.broken));
        let sequence_by = table.sequence_by.as_ref().and_then(|sql| self.sequence(sql, &checks));
        let expectations = self.expectations(&checks);
        let columns = self.columns.into_iter().map(|draft| {
            let Draft { name, expr, data_type, required } = draft;
            expr.map(|expr| OutputColumn { name, expr, data_type, required })
        });
        let mut compiled = CompiledSilver {
            name: table.name.value.clone(),
            input: table.from.value.clone(),
            source_schema: self.source.schema.clone(),
            columns: columns.collect::<Option<Vec<_>>>()?,
            filter,
            delete_when,
            key,
            check_schema,
            sequence_by,
            merge_on_read: table.merge_on_read.as_ref().is_some_and(|m| m.value),
            expectations,
            fingerprint: 0,
        };
        compiled.fingerprint = silver_fingerprint(&compiled);
        for (column, (_, sql)) in
            compiled.columns.iter().filter_map(|c| Some((c, table.select.iter().find(|(n, _)| n.value == c.name)?)))
        {
            self.planner.warn_if_volatile(&column.expr, sql);
        }
        Some(compiled)
    }

    /// Latest-wins and deletes mean nothing without a key.
    fn check_key_is_there(&mut self, key: &[usize]) {
        let table = self.table;
        if !key.is_empty() || !table.key.is_empty() {
            return;
        }
        let span = |sql: &Option<Spanned<String>>| sql.as_ref().map(|sql| sql.span);
        let marks = table.merge_on_read.as_ref().filter(|m| m.value).map(|m| m.span);
        let keyed =
            [("sequence_by", span(&table.sequence_by)), ("delete_when", span(&table.delete_when)), ("merge_on_read", marks)];
        for (word, span) in keyed.into_iter().filter_map(|(word, span)| Some((word, span?))) {
            let message = format!("`{word}` needs a key, and `{}` has none", table.name.value);
            let help = "add `key:` with the columns that tell one row from another".to_owned();
            self.planner.error("missing-key", span, message, Some(help));
        }
    }

    fn source_condition(&mut self, sql: Option<&Spanned<String>>, what: &str) -> Option<Expr> {
        let sql = sql?;
        let expr = self.planner.condition(sql, &self.scope, what)?;
        self.planner.warn_if_volatile(&expr, sql);
        Some(expr)
    }

    fn sequence(&mut self, sql: &Spanned<String>, checks: &Scope) -> Option<Expr> {
        let typed = self.planner.expression(sql, checks)?;
        if types::is_nested(&typed.data_type) || typed.data_type == DataType::Null {
            let message = format!("`sequence_by` is {}, which has no order", types::display(&typed.data_type));
            let help = "use a time or a number that grows with every change".to_owned();
            self.planner.error("type-mismatch", sql.span, message, Some(help));
            return None;
        }
        self.planner.warn_if_volatile(&typed.expr, sql);
        Some(typed.expr)
    }

    fn expectations(&mut self, checks: &Scope) -> Vec<CompiledExpectation> {
        let mut compiled = Vec::with_capacity(self.table.expect.len());
        for expectation in &self.table.expect {
            let what = format!("the expectation `{}`", expectation.name.value);
            if let Some(expr) = self.planner.condition(&expectation.check, checks, &what) {
                self.planner.warn_if_volatile(&expr, &expectation.check);
                let name = expectation.name.value.clone();
                compiled.push(CompiledExpectation { name, expr, otherwise: expectation.otherwise });
            }
        }
        compiled
    }
}

/// Everything that determines the rows, as text. The source's other columns do not, so that a new one changes nothing.
fn silver_fingerprint(table: &CompiledSilver) -> i64 {
    let mut parts: Vec<String> = vec!["silver.v1".to_owned(), table.input.to_string()];
    for column in &table.columns {
        let required = if column.required { "required" } else { "optional" };
        parts.extend([column.name.clone(), column.expr.to_string(), column.data_type.to_string(), required.to_owned()]);
    }
    let optional = |word: &str, expr: &Option<Expr>| [word.to_owned(), expr.as_ref().map(Expr::to_string).unwrap_or_default()];
    parts.extend(optional("where", &table.filter));
    parts.extend(optional("delete_when", &table.delete_when));
    parts.extend(optional("sequence_by", &table.sequence_by));
    parts.push("key".to_owned());
    parts.extend(table.key.iter().map(usize::to_string));
    parts.push("expect".to_owned());
    for expectation in &table.expectations {
        parts.extend([expectation.name.clone(), expectation.expr.to_string(), expectation.otherwise.as_str().to_owned()]);
    }
    fingerprint(parts.iter().map(String::as_str))
}
