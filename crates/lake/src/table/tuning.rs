//! How the columns of a table's files are encoded, by what their first rows look like.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::merge::hashes_of;
use crate::table::statistics::StatsColumns;

/// Rows that are looked at.
const SAMPLE: usize = 4096;

/// Rows of fewer than that tell nothing.
const LEAST: usize = 256;

/// What is known of the columns.
#[derive(Debug, Default)]
pub(super) struct Tuning {
    /// Columns of which hardly a value comes again: looking for it costs more than it saves.
    distinct: HashSet<String>,
}

impl Tuning {
    pub(super) fn of(rows: &RecordBatch) -> Self {
        let sample = rows.slice(0, rows.num_rows().min(SAMPLE));
        if sample.num_rows() < LEAST {
            return Self::default();
        }
        let columns = sample.schema_ref().fields().iter().zip(sample.columns());
        let distinct = columns.filter(|(field, column)| {
            let known = column.len() - column.null_count();
            !field.data_type().is_nested() && known >= LEAST && distinct(column) * 10 > known * 9
        });
        Self { distinct: distinct.map(|(field, _)| field.name().clone()).collect() }
    }

    /// How a file of `schema` is encoded. Of text the file keeps minima and maxima only where the log does.
    pub(super) fn properties(&self, schema: &Schema, stats: &StatsColumns) -> WriterProperties {
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("lake {}", env!("CARGO_PKG_VERSION")));
        for (place, field) in schema.fields().iter().enumerate() {
            let path = ColumnPath::new(vec![field.name().clone()]);
            if self.distinct.contains(field.name()) {
                properties = properties.set_column_dictionary_enabled(path.clone(), false);
            }
            if matches!(field.data_type(), DataType::Utf8 | DataType::Binary) && !stats.holds(place, field.name()) {
                properties = properties.set_column_statistics_enabled(path, EnabledStatistics::None);
            }
        }
        properties.build()
    }
}

fn distinct(column: &arrow::array::ArrayRef) -> usize {
    let hashes = hashes_of(std::slice::from_ref(column)).unwrap_or_default();
    hashes.into_iter().collect::<HashSet<u64>>().len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use parquet::file::properties::EnabledStatistics;

    use super::*;

    #[test]
    fn columns_whose_values_do_not_repeat_get_no_dictionary() {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let kinds: ArrayRef = Arc::new(StringArray::from_iter_values((0..1000).map(|i| format!("kind {}", i % 7))));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..1000).map(|i| format!("text {i}"))));
        let rows = RecordBatch::try_from_iter([("key", keys), ("kind", kinds), ("text", texts)]).unwrap();
        let path = |name: &str| ColumnPath::new(vec![name.to_string()]);
        let stats = StatsColumns::Named(vec!["key".into(), "kind".into()]);
        let properties = Tuning::of(&rows).properties(rows.schema_ref(), &stats);
        let dictionary = |name| properties.dictionary_enabled(&path(name));
        assert_eq!([dictionary("key"), dictionary("kind"), dictionary("text")], [false, true, false]);
        let kept = |name| properties.statistics_enabled(&path(name)) != EnabledStatistics::None;
        assert_eq!([kept("key"), kept("kind"), kept("text")], [true, true, false]);
        let few = Tuning::of(&rows.slice(0, 10)).properties(rows.schema_ref(), &stats);
        assert!(few.dictionary_enabled(&path("key")));
    }
}
