//! Columns of tables: which of them the log may keep values of, and how a table's columns may change.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use lake::pipeline::TableName;
pub use lake::table::without_workspace;
use lake::{Error, ErrorKind, Result};

use crate::ingest::format::merge_schemas;

/// The most columns the log keeps minima and maxima of.
const MOST_STATS_COLUMNS: usize = 32;

/// The columns whose minima and maxima go to the log: `always` and those that are numbers or times. Text is left out, since it may be
/// personal and the log is not.
pub fn stats_columns(schema: &Schema, always: &[String]) -> Vec<String> {
    // Dates are left out too: the library that writes the minima cannot hold all that Parquet can.
    let plain = |t: &DataType| t.is_numeric() || matches!(t, DataType::Timestamp(..));
    let others = schema.fields().iter().filter(|f| !always.contains(f.name()) && plain(f.data_type())).map(|f| f.name().clone());
    always
        .iter()
        .filter(|c| !is_date(schema, c))
        .cloned()
        .chain(others)
        .filter(|c| is_identifier(c))
        .take(MOST_STATS_COLUMNS)
        .collect()
}

fn is_date(schema: &Schema, column: &str) -> bool {
    schema.field_with_name(column).is_ok_and(|f| f.data_type() == &DataType::Date32)
}

/// Whether a name can stand in the table's list of such columns, which is read as SQL identifiers.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `old` with the columns and fields of `new` that it lacks.
///
/// # Errors
/// [`ErrorKind::Config`] when a column changed its type while other workspaces still have rows of the old one.
pub fn widened(table: &TableName, old: &SchemaRef, new: &SchemaRef) -> Result<SchemaRef> {
    for field in new.fields() {
        match old.field_with_name(field.name()) {
            Err(_) => {}
            Ok(same)
                if same.data_type() == field.data_type() || (same.data_type().is_nested() && field.data_type().is_nested()) => {}
            Ok(_) => {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("the type of `{table}.{}` changed while other workspaces have rows of the old one", field.name()),
                )
                .with_hint("run the pipeline once for all workspaces, or give the column a new name"));
            }
        }
    }
    Ok(Arc::new(extended(old, new)))
}

/// `old` with the columns of `new` that it lacks, and with the fields that objects have gained; columns are the same when their names are.
pub fn extended(old: &Schema, new: &Schema) -> Schema {
    let mut fields: Vec<FieldRef> = old.fields().iter().cloned().collect();
    for field in new.fields() {
        match fields.iter_mut().find(|f| f.name() == field.name()) {
            None => fields.push(field.clone()),
            Some(same) => {
                let alone = |f: &FieldRef| Schema::new(vec![Field::new(f.name(), f.data_type().clone(), true)]);
                let merged = merge_schemas(&alone(same), &alone(field));
                *same = Arc::new(same.as_ref().clone().with_data_type(merged.field(0).data_type().clone()));
            }
        }
    }
    Schema::new(fields)
}
