//! What the log keeps of a file's rows: their number, and minima, maxima and nulls of some columns.

use chrono::DateTime;
use parquet::basic::{LogicalType, TimeUnit};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

use crate::table::snapshot::Snapshot;

/// The greatest unscaled decimal that a JSON number holds exactly.
const EXACT_DECIMAL: i128 = 1_000_000_000_000_000;

/// The columns of a table that the log keeps values of.
#[derive(Debug, Clone)]
pub(super) enum StatsColumns {
    Named(Vec<String>),
    First(usize),
}

impl StatsColumns {
    pub(super) fn of(table: &Snapshot) -> Self {
        let setting = |name: &str| table.delta().snapshot().ok().and_then(|s| s.metadata().configuration().get(name).cloned());
        if let Some(names) = setting("delta.dataSkippingStatsColumns").filter(|v| !v.is_empty()) {
            return Self::Named(names.split(',').map(|c| c.trim().trim_matches('`').to_string()).collect());
        }
        let count = setting("delta.dataSkippingNumIndexedCols").and_then(|v| v.parse::<i64>().ok()).unwrap_or(32);
        Self::First(usize::try_from(count).unwrap_or(usize::MAX))
    }

    pub(super) fn holds(&self, place: usize, name: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|n| n == name),
            Self::First(count) => place < *count,
        }
    }
}

/// The statistics of a file as the log has them. Columns of objects and lists are left out.
pub(super) fn statistics(file: &ParquetMetaData, columns: &StatsColumns) -> String {
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    let schema = file.file_metadata().schema_descr();
    for leaf in 0..schema.num_columns() {
        let column = schema.column(leaf);
        let plain = column.path().parts().len() == 1 && column.max_rep_level() == 0;
        if !plain || !columns.holds(schema.get_column_root_idx(leaf), column.name()) {
            continue;
        }
        let Some(found) = Bounds::of(file.row_groups(), leaf, column.logical_type_ref()) else { continue };
        nulls.insert(column.name().to_string(), found.nulls.into());
        if let Some((low, high)) = found.range {
            let (low, high) = (low.json(), high.json());
            least.extend(low.map(|v| (column.name().to_string(), v)));
            greatest.extend(high.map(|v| (column.name().to_string(), v)));
        }
    }
    let rows = file.file_metadata().num_rows();
    json!({"numRecords": rows, "minValues": least, "maxValues": greatest, "nullCount": nulls}).to_string()
}

/// What is known of a column over all row groups.
struct Bounds {
    range: Option<(Scalar, Scalar)>,
    nulls: u64,
}

impl Bounds {
    /// `None` when a row group does not tell its nulls.
    fn of(groups: &[RowGroupMetaData], leaf: usize, logical: Option<&LogicalType>) -> Option<Self> {
        let mut bounds = Self { range: None, nulls: 0 };
        let mut complete = true;
        for group in groups {
            let column = group.column(leaf);
            let statistics = column.statistics()?;
            let nulls = statistics.null_count_opt()?;
            bounds.nulls += nulls;
            if nulls >= u64::try_from(column.num_values()).unwrap_or_default() {
                continue;
            }
            // A row group that has values but no bounds leaves the file without.
            let Some((low, high)) = scalars(statistics, logical) else {
                complete = false;
                continue;
            };
            bounds.range = Some(match bounds.range.take() {
                None => (low, high),
                Some((l, h)) => (if low < l { low } else { l }, if high > h { high } else { h }),
            });
        }
        bounds.range = bounds.range.filter(|_| complete);
        Some(bounds)
    }
}

/// A bound in the order of its column's values.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
enum Scalar {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Date(i32),
    /// Microseconds, and whether they count from 1970 in UTC.
    Timestamp(i64, bool),
    /// Unscaled, and the scale.
    Decimal(i128, i32),
    Text(String),
}

impl Scalar {
    /// As the protocol writes it; `None` for what JSON or the calendar cannot hold.
    fn json(&self) -> Option<Value> {
        match self {
            Self::Boolean(v) => Some((*v).into()),
            Self::Integer(v) => Some((*v).into()),
            Self::Float(v) => serde_json::Number::from_f64(*v).map(Value::Number),
            Self::Date(days) => {
                let date = DateTime::from_timestamp(i64::from(*days) * 86_400, 0)?.date_naive();
                Some(date.format("%Y-%m-%d").to_string().into())
            }
            Self::Timestamp(micros, utc) => {
                // The protocol has milliseconds; readers take a maximum for up to one more.
                let time = DateTime::from_timestamp_micros(*micros)?.naive_utc();
                let format = if *utc { "%Y-%m-%dT%H:%M:%S%.3fZ" } else { "%Y-%m-%d %H:%M:%S%.3f" };
                Some(time.format(format).to_string().into())
            }
            Self::Decimal(unscaled, scale) => {
                let exact = i64::try_from(*unscaled).ok().filter(|_| unscaled.abs() < EXACT_DECIMAL)?;
                if *scale == 0 {
                    return Some(exact.into());
                }
                #[expect(clippy::cast_precision_loss, reason = "it is below what a double holds exactly")]
                serde_json::Number::from_f64(exact as f64 / 10f64.powi(*scale)).map(Value::Number)
            }
            Self::Text(text) => Some(text.as_str().into()),
        }
    }
}

fn scalars(statistics: &Statistics, logical: Option<&LogicalType>) -> Option<(Scalar, Scalar)> {
    let both = |low: Option<Scalar>, high: Option<Scalar>| low.zip(high);
    match statistics {
        Statistics::Boolean(s) => both(s.min_opt().map(|v| Scalar::Boolean(*v)), s.max_opt().map(|v| Scalar::Boolean(*v))),
        Statistics::Int32(s) => {
            let scalar = |v: &i32| match logical {
                Some(LogicalType::Date) => Some(Scalar::Date(*v)),
                _ => integer(i64::from(*v), logical),
            };
            both(s.min_opt().and_then(scalar), s.max_opt().and_then(scalar))
        }
        Statistics::Int64(s) => {
            let scalar = |v: &i64| integer(*v, logical);
            both(s.min_opt().and_then(scalar), s.max_opt().and_then(scalar))
        }
        Statistics::Float(s) => {
            both(s.min_opt().map(|v| Scalar::Float(f64::from(*v))), s.max_opt().map(|v| Scalar::Float(f64::from(*v))))
        }
        Statistics::Double(s) => both(s.min_opt().map(|v| Scalar::Float(*v)), s.max_opt().map(|v| Scalar::Float(*v))),
        Statistics::ByteArray(s) if matches!(logical, Some(LogicalType::String)) => {
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(|t| Scalar::Text(t.to_string()));
            both(s.min_bytes_opt().and_then(text), s.max_bytes_opt().and_then(text))
        }
        Statistics::FixedLenByteArray(s) => {
            let Some(LogicalType::Decimal(decimal)) = logical else { return None };
            let scalar = |bytes: &[u8]| big_endian(bytes).map(|v| Scalar::Decimal(v, decimal.scale));
            both(s.min_bytes_opt().and_then(scalar), s.max_bytes_opt().and_then(scalar))
        }
        Statistics::ByteArray(_) | Statistics::Int96(_) => None,
    }
}

fn integer(value: i64, logical: Option<&LogicalType>) -> Option<Scalar> {
    match logical {
        Some(LogicalType::Decimal(decimal)) => Some(Scalar::Decimal(i128::from(value), decimal.scale)),
        Some(LogicalType::Timestamp(timestamp)) => {
            let micros = match timestamp.unit {
                TimeUnit::MILLIS => value.checked_mul(1_000)?,
                TimeUnit::MICROS => value,
                TimeUnit::NANOS => value.div_euclid(1_000),
            };
            Some(Scalar::Timestamp(micros, timestamp.is_adjusted_to_u_t_c))
        }
        None | Some(LogicalType::Integer(_)) => Some(Scalar::Integer(value)),
        Some(_) => None,
    }
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first()?;
    let fill = if first & 0x80 == 0 { 0 } else { 0xff };
    let mut whole = [fill; 16];
    whole.get_mut(16usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    };
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn written(columns: Vec<(&str, ArrayRef)>, columns_kept: &StatsColumns) -> Value {
        let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let mut writer = ArrowWriter::try_new(vec![], batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        serde_json::from_str(&statistics(&writer.finish().unwrap(), columns_kept)).unwrap()
    }

    #[test]
    fn bounds_are_those_of_all_row_groups() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("flag", Arc::new(BooleanArray::from(vec![Some(false), None, Some(true)]))),
            ("id", Arc::new(Int64Array::from(vec![Some(7), Some(-3), None]))),
            ("price", Arc::new(Decimal128Array::from(vec![-105, 250, 0]).with_precision_and_scale(30, 2).unwrap())),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![0, 1_500_999, 1]).with_timezone("UTC"))),
            ("local", Arc::new(TimestampMicrosecondArray::from(vec![-1, 0, 1]))),
            ("rate", Arc::new(Float64Array::from(vec![0.5, f64::INFINITY, -2.0]))),
            ("name", Arc::new(StringArray::from(vec!["b", "z", "a"]))),
        ];
        let found = written(columns, &StatsColumns::First(32));
        assert_eq!(found["numRecords"], 3);
        assert_eq!(
            found["minValues"],
            json!({"flag": false, "id": -3, "price": -1.05, "at": "1970-01-01T00:00:00.000Z",
                   "local": "1969-12-31 23:59:59.999", "rate": -2.0, "name": "a"})
        );
        assert_eq!(
            found["maxValues"],
            json!({"flag": true, "id": 7, "price": 2.5, "at": "1970-01-01T00:00:01.500Z",
                   "local": "1970-01-01 00:00:00.000", "name": "z"})
        );
        assert_eq!(found["nullCount"]["id"], 1);
    }

    #[test]
    fn a_row_group_without_bounds_leaves_the_file_without() {
        let unknown = Float64Array::from(vec![1.0, 2.0, f64::NAN]);
        let found = written(vec![("rate", Arc::new(unknown))], &StatsColumns::First(1));
        assert_eq!(found["minValues"], json!({}));
        assert_eq!(found["nullCount"], json!({"rate": 0}));
    }

    #[test]
    fn only_the_columns_asked_for_are_told() {
        let columns: Vec<(&str, ArrayRef)> =
            vec![("id", Arc::new(Int64Array::from(vec![1]))), ("name", Arc::new(StringArray::from(vec!["x"])))];
        let found = written(columns, &StatsColumns::Named(vec!["id".into()]));
        assert_eq!(found, json!({"numRecords": 1, "minValues": {"id": 1}, "maxValues": {"id": 1}, "nullCount": {"id": 0}}));
    }
}
