//! The ranges of the keys of rows to merge, by which the log's statistics rule out files before one is opened.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, max, max_string, min, min_string};
use arrow::datatypes::{DataType, Int64Type};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What is known of a file's values, as the log writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statistics {
    #[serde(default)]
    min_values: Map<String, Value>,
    #[serde(default)]
    max_values: Map<String, Value>,
}

/// The least and the greatest value of some columns.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyRanges(Vec<KeyRange>);

#[derive(Debug, Clone)]
struct KeyRange {
    name: String,
    column: usize,
    range: Option<Range>,
}

/// Both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Range {
    Integers(i64, i64),
    Texts(String, String),
}

impl KeyRanges {
    /// Of the columns `names` of rows of `schema` that are integers or texts; others rule nothing out.
    pub(super) fn new(schema: &arrow::datatypes::Schema, names: &[String]) -> Self {
        let column = |name: &String| {
            let (column, field) = schema.column_with_name(name)?;
            is_ranged(field.data_type()).then(|| KeyRange { name: name.clone(), column, range: None })
        };
        Self(names.iter().filter_map(column).collect())
    }

    /// Takes the rows of `batch` in.
    pub(super) fn note(&mut self, batch: &RecordBatch) {
        self.0.retain_mut(|key| match Range::of(batch.column(key.column)) {
            Some(range) => {
                key.range = Some(match key.range.take() {
                    Some(before) => before.with(range),
                    None => range,
                });
                true
            }
            // Of a column without a range nothing is known any more.
            None => false,
        });
    }

    /// Whether a file with these statistics may hold one of the keys.
    pub(super) fn may_be_in(&self, statistics: Option<&str>) -> bool {
        let Some(Statistics { min_values, max_values }) = statistics.and_then(|s| serde_json::from_str(s).ok()) else {
            return true;
        };
        self.0.iter().all(|key| {
            let (Some(range), Some(low), Some(high)) = (&key.range, min_values.get(&key.name), max_values.get(&key.name)) else {
                return true;
            };
            range.meets(low, high)
        })
    }
}

fn is_ranged(data_type: &DataType) -> bool {
    // The greatest unsigned numbers are no `i64`.
    (data_type.is_integer() && *data_type != DataType::UInt64) || *data_type == DataType::Utf8
}

impl Range {
    fn of(column: &ArrayRef) -> Option<Self> {
        if let Some(texts) = column.as_string_opt::<i32>() {
            return Some(Self::Texts(min_string(texts)?.to_owned(), max_string(texts)?.to_owned()));
        }
        let numbers = cast(column, &DataType::Int64).ok()?;
        let numbers = numbers.as_primitive_opt::<Int64Type>()?;
        Some(Self::Integers(min(numbers)?, max(numbers)?))
    }

    fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integers(low, high), Self::Integers(l, h)) => Self::Integers(low.min(l), high.max(h)),
            (Self::Texts(low, high), Self::Texts(l, h)) => Self::Texts(low.min(l), high.max(h)),
            (before, _) => before,
        }
    }

    /// Whether a value of the range may be between `least` and `greatest`.
    fn meets(&self, least: &Value, greatest: &Value) -> bool {
        match (self, least, greatest) {
            (Self::Integers(low, high), Value::Number(least), Value::Number(greatest)) => {
                let (least, greatest) = (least.as_i64(), greatest.as_i64());
                least.is_none_or(|least| *high >= least) && greatest.is_none_or(|greatest| *low <= greatest)
            }
            (Self::Texts(low, high), Value::String(least), Value::String(greatest)) => high >= least && low <= greatest,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(ids: &[i32], names: &[&str]) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int32, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("weight", DataType::Float64, true),
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(ids.to_vec())),
            Arc::new(StringArray::from(names.to_vec())),
            Arc::new(Float64Array::from(vec![0.5; ids.len()])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    #[test]
    fn files_beyond_the_range_of_a_key_are_ruled_out_and_unknown_ones_are_not() {
        let first = batch(&[7, -2], &["m", "k"]);
        let mut ranges = KeyRanges::new(&first.schema(), &["id", "name", "weight"].map(str::to_owned));
        ranges.note(&first);
        ranges.note(&batch(&[5, 9], &["p", "l"]));
        let statistics = |ids: (i64, i64), names: (&str, &str)| {
            let (least, greatest) =
                (serde_json::json!({"id": ids.0, "name": names.0}), serde_json::json!({"id": ids.1, "name": names.1}));
            serde_json::json!({"numRecords": 1, "minValues": least, "maxValues": greatest}).to_string()
        };
        for (ids, names, may) in [
            ((0, 1), ("a", "z"), true),
            ((9, 20), ("p", "z"), true),
            ((-9, -2), ("a", "k"), true),
            ((10, 20), ("a", "z"), false),
            ((-9, -3), ("a", "z"), false),
            ((0, 1), ("pa", "z"), false),
            ((0, 1), ("a", "jz"), false),
        ] {
            assert_eq!(ranges.may_be_in(Some(&statistics(ids, names))), may, "{ids:?} {names:?}");
        }
        for unknown in [None, Some("no json"), Some("{}"), Some(r#"{"minValues":{"id":"x"},"maxValues":{"id":"y"}}"#)] {
            assert!(ranges.may_be_in(unknown));
        }
    }
}
