//! Giving each row its workspace and its origin.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use lake::table::Scope;
use lake::verdict::REASON_COLUMN;
use lake::{Error, ErrorKind, Result, UNASSIGNED, WORKSPACE_COLUMN, WorkspaceId};

use crate::ingest::format::{RawBatch, conform};
use crate::ingest::job::{DELIVERED_WORKSPACE, Origin, bronze_schema};

/// Why a row is in a Bronze quarantine.
pub(crate) const NO_WORKSPACE: &str = "the row names no workspace";

/// Where a row's workspace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkspaceFrom {
    /// All rows belong to the workspace of the run.
    Run(WorkspaceId),
    /// A column of the feed, text.
    Column(String),
}

/// The rows of a batch after they got their workspace.
pub(crate) struct Assigned {
    /// Rows in scope, those without a workspace included.
    pub(crate) in_scope: u64,
    /// Rows of Bronze. Those without a workspace are not among them, though they are in the batch.
    pub(crate) assigned: Option<RecordBatch>,
    /// Rows for the Bronze quarantine.
    pub(crate) refused: Option<RecordBatch>,
}

pub(crate) struct Assigner<'a> {
    from: &'a WorkspaceFrom,
    scope: &'a Scope,
    /// Workspaces whose rows of this file are in the table already.
    done: &'a HashSet<String>,
}

impl<'a> Assigner<'a> {
    pub(crate) fn new(from: &'a WorkspaceFrom, scope: &'a Scope, done: &'a HashSet<String>) -> Self {
        Self { from, scope, done }
    }

    /// `raw` is the table's raw columns, of which those without a shape yet are left out.
    pub(crate) fn assign(&self, batch: &RawBatch, raw: &SchemaRef, origin: &Origin) -> Result<Assigned> {
        let rows = batch.batch.num_rows();
        if rows == 0 {
            return Ok(Assigned { in_scope: 0, assigned: None, refused: None });
        }
        let delivered = self.delivered(batch)?;
        let known: Vec<_> =
            raw.fields().iter().filter(|f| f.data_type() != &DataType::Null && f.name() != WORKSPACE_COLUMN).cloned().collect();
        let fitted = conform(&without_workspace(batch), &Arc::new(Schema::new(known)))?;
        let all = with_origin(&fitted, origin)?;
        match delivered {
            None => self.whole(&all),
            Some(names) => self.split(&all, &names),
        }
    }

    /// The workspace column as it was delivered; `None` when the run's workspace is meant.
    fn delivered(&self, batch: &RawBatch) -> Result<Option<StringArray>> {
        let WorkspaceFrom::Column(column) = self.from else { return Ok(None) };
        let rows = batch.batch.num_rows();
        let values: ArrayRef = match batch.batch.column_by_name(column) {
            None => return Ok(Some(StringArray::new_null(rows))),
            Some(values) if values.data_type().is_nested() => return Ok(Some(StringArray::new_null(rows))),
            Some(values) => cast(values, &DataType::Utf8).map_err(internal)?,
        };
        Ok(Some(values.as_string::<i32>().clone()))
    }

    fn whole(&self, all: &RecordBatch) -> Result<Assigned> {
        let WorkspaceFrom::Run(workspace) = self.from else {
            return Err(Error::new(ErrorKind::Internal, "rows without a workspace cannot be a whole batch"));
        };
        let names = StringArray::from(vec![workspace.as_str(); all.num_rows()]);
        Ok(Assigned {
            in_scope: all.num_rows() as u64,
            assigned: Some(append(all, &[(WORKSPACE_COLUMN, Arc::new(names))])?),
            refused: None,
        })
    }

    fn split(&self, all: &RecordBatch, names: &StringArray) -> Result<Assigned> {
        let mut known: Option<(&str, bool)> = None;
        let mut fits: HashMap<&str, bool> = HashMap::new();
        let (mut own, mut refused) = (vec![], vec![]);
        for row in 0..names.len() {
            // The rows of a workspace often follow each other.
            let name = names.is_valid(row).then(|| names.value(row)).filter(|name| match known {
                Some((last, fit)) if last == *name => fit,
                _ => {
                    let fit = *fits.entry(name).or_insert_with(|| WorkspaceId::refusal(name).is_none());
                    known = Some((name, fit));
                    fit
                }
            });
            match name {
                Some(name) if self.scope.holds(Some(name)) && !self.done.contains(name) => own.push(row as u64),
                // A row that belongs to nobody is kept by the feed's runs only, so that it is kept once.
                None if *self.scope == Scope::Feed => refused.push(row as u64),
                _ => {}
            }
        }
        let in_scope = (own.len() + refused.len()) as u64;
        let refused = match refused.is_empty() {
            true => None,
            false => Some(unassigned(&take(&append(all, &[(WORKSPACE_COLUMN, Arc::new(names.clone()))])?, refused)?)?),
        };
        let assigned = match own.len() {
            0 => None,
            // To leave a few rows without a workspace costs less than to copy the others.
            count if count * 2 > names.len() => Some(append(all, &[(WORKSPACE_COLUMN, Arc::new(only(names, &own)))])?),
            _ => Some(take(&append(all, &[(WORKSPACE_COLUMN, Arc::new(names.clone()))])?, own)?),
        };
        Ok(Assigned { in_scope, assigned, refused })
    }
}

/// The names of `rows`, and null for all others.
fn only(names: &StringArray, rows: &[u64]) -> StringArray {
    if rows.len() == names.len() {
        return names.clone();
    }
    let mut own = vec![false; names.len()];
    rows.iter().for_each(|row| own[usize::try_from(*row).unwrap_or_default()] = true);
    let (offsets, values, nulls) = names.clone().into_parts();
    StringArray::new(offsets, values, NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::from(own))))
}

/// The batch without a column that becomes the partition.
fn without_workspace(batch: &RawBatch) -> RawBatch {
    let mut rows = batch.clone();
    if let Ok(index) = rows.batch.schema().index_of(WORKSPACE_COLUMN) {
        rows.batch.remove_column(index);
    }
    rows
}

/// The raw columns, then the columns that tell the origin, in the table's order.
fn with_origin(batch: &RawBatch, origin: &Origin) -> Result<RecordBatch> {
    let rows = batch.batch.num_rows();
    let source: ArrayRef = Arc::new(StringArray::from(vec![origin.source.as_str(); rows]));
    let numbers: Int64Array = batch.source_rows.clone();
    let times = TimestampMicrosecondArray::from(vec![origin.ingested_at; rows]).with_timezone("UTC");
    let runs = StringArray::from(vec![origin.run_id.as_str(); rows]);
    let columns: Vec<ArrayRef> =
        vec![source, Arc::new(numbers), Arc::new(times), Arc::new(runs), Arc::new(batch.rescued.clone())];
    let columns = batch.batch.columns().iter().cloned().chain(columns).collect();
    RecordBatch::try_new(bronze_schema(&batch.batch.schema()), columns).map_err(internal)
}

/// Rows of nobody: what was delivered as the workspace is kept beside them.
fn unassigned(rows: &RecordBatch) -> Result<RecordBatch> {
    let index = rows.schema().index_of(WORKSPACE_COLUMN).map_err(internal)?;
    let count = rows.num_rows();
    let delivered = rows.column(index).clone();
    let mut columns = rows.columns().to_vec();
    columns[index] = Arc::new(StringArray::from(vec![UNASSIGNED; count]));
    let rows = RecordBatch::try_new(rows.schema(), columns).map_err(internal)?;
    let reasons = Arc::new(StringArray::from(vec![NO_WORKSPACE; count]));
    append(&rows, &[(DELIVERED_WORKSPACE, delivered), (REASON_COLUMN, reasons)])
}

fn append(batch: &RecordBatch, more: &[(&str, ArrayRef)]) -> Result<RecordBatch> {
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    for (name, column) in more {
        fields.push(Arc::new(Field::new(*name, column.data_type().clone(), true)));
        columns.push(column.clone());
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(internal)
}

fn take(batch: &RecordBatch, rows: Vec<u64>) -> Result<RecordBatch> {
    if rows.len() == batch.num_rows() {
        return Ok(batch.clone());
    }
    take_record_batch(batch, &UInt64Array::from(rows)).map_err(internal)
}

fn internal(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot give the rows their workspace").with_source(source)
}
