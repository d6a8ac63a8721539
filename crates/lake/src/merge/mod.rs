//! Upserts and deletes by key: the latest row of each key wins, by an order that depends on the rows only.

mod apply;
mod candidates;
mod keys;
mod latest;
mod lookup;
mod ranges;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

pub use apply::{MergeOutcome, merge, merge_candidates};
pub use candidates::Candidates;

use apply::{Fate, Merge, match_error};
pub(crate) use keys::hashes_of;

use crate::workspace_id::WORKSPACE_COLUMN;

/// The column of a candidate that says whether it deletes its key.
pub const DELETE_COLUMN: &str = "__lake_delete";

/// The column of a candidate with its place in the order of arrival, where no sequence is given.
pub const ARRIVAL_COLUMN: &str = "__lake_arrival";

/// How two rows of a key are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sequence {
    /// The greater value of this column wins, null being the lowest; then a delete wins over an upsert; then the remaining columns decide
    /// from left to right. The table keeps the column, and keeps deletes as tombstones.
    Column(String),
    /// The row that arrived later wins.
    Arrival,
}

/// What a merge needs to know of a table.
#[derive(Debug, Clone)]
pub struct MergeSpec {
    /// The table's columns, without `workspace_id`.
    pub columns: SchemaRef,
    /// Columns that identify a row within its workspace; never null.
    pub key: Vec<String>,
    /// Which row of a key wins.
    pub sequence: Sequence,
    /// Whether rows may be marked as deleted where that costs less than writing their file anew: readers must know deletion vectors.
    pub merge_on_read: bool,
}

impl MergeSpec {
    /// The schema of candidates: the table's columns, `workspace_id`, [`DELETE_COLUMN`], and [`ARRIVAL_COLUMN`] when rows are ordered
    /// by arrival.
    pub fn candidates(&self) -> SchemaRef {
        let mut fields: Vec<_> = self.columns.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(WORKSPACE_COLUMN, DataType::Utf8, true)));
        fields.push(Arc::new(Field::new(DELETE_COLUMN, DataType::Boolean, false)));
        if self.sequence == Sequence::Arrival {
            fields.push(Arc::new(Field::new(ARRIVAL_COLUMN, DataType::UInt64, false)));
        }
        Arc::new(Schema::new(fields))
    }

    /// The schema of the tombstones beside the table: key, sequence, `workspace_id`.
    pub fn tombstones(&self) -> Option<SchemaRef> {
        let Sequence::Column(sequence) = &self.sequence else { return None };
        let named = |name: &String| self.columns.field_with_name(name).ok().cloned();
        let mut fields: Vec<_> = self.key.iter().filter(|k| *k != sequence).filter_map(named).collect();
        fields.extend(named(sequence));
        fields.push(Field::new(WORKSPACE_COLUMN, DataType::Utf8, true));
        Some(Arc::new(Schema::new(fields)))
    }

    /// The workspace and the key.
    fn group(&self) -> Vec<&str> {
        std::iter::once(WORKSPACE_COLUMN).chain(self.key.iter().map(String::as_str)).collect()
    }

    /// The column that orders the rows of a key.
    fn order_column(&self) -> &str {
        match &self.sequence {
            Sequence::Column(name) => name,
            Sequence::Arrival => ARRIVAL_COLUMN,
        }
    }

    /// The columns of a candidate that meet those of the table first: they tell the winner unless two sequences are equal.
    fn compared(&self) -> Vec<&str> {
        let mut columns = self.group();
        columns.push(DELETE_COLUMN);
        if self.sequence != Sequence::Arrival && !columns.contains(&self.order_column()) {
            columns.push(self.order_column());
        }
        columns
    }

    /// The columns that decide between rows of equal sequence. Nested values have no order and take no part.
    fn tie_columns(&self) -> Vec<&str> {
        let decides =
            |f: &&Arc<Field>| !f.data_type().is_nested() && !self.key.contains(f.name()) && f.name() != self.order_column();
        self.columns.fields().iter().filter(decides).map(|f| f.name().as_str()).collect()
    }
}
