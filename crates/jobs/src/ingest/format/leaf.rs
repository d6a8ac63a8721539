//! Single values: as JSON text, and from one type to another without loss.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray, new_null_array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, can_cast_types, cast, cast_with_options, not, nullif};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

use super::naming::key_of;

/// The value at `row` as JSON, under the keys that were delivered.
pub(super) fn json_text(array: &dyn Array, row: usize) -> Result<String, ArrowError> {
    let mut out = String::new();
    write_json(array, row, &mut out)?;
    Ok(out)
}

fn write_json(array: &dyn Array, row: usize, out: &mut String) -> Result<(), ArrowError> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Struct(fields) => {
            for (index, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                push_string(key_of(field), out);
                out.push(':');
                write_json(column, row, out)?;
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for item in 0..items.len() {
                if item > 0 {
                    out.push(',');
                }
                write_json(&items, item, out)?;
            }
            out.push(']');
        }
        kind => {
            let text = array_value_to_string(array, row)?;
            match is_bare(kind, &text) {
                true => out.push_str(&text),
                false => push_string(&text, out),
            }
        }
    }
    Ok(())
}

/// Whether the text of a value of `kind` is JSON as it stands.
fn is_bare(kind: &DataType, text: &str) -> bool {
    match kind {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => text.ends_with(|c: char| c.is_ascii_digit()),
        kind => kind.is_numeric() || kind == &DataType::Boolean,
    }
}

fn push_string(text: &str, out: &mut String) {
    match serde_json::to_string(text) {
        Ok(json) => out.push_str(&json),
        Err(error) => {
            let _ = write!(out, "\"{error}\"");
        }
    }
}

/// Kinds of types between which values can pass.
#[derive(PartialEq)]
enum Family {
    Number,
    Text,
    Binary,
    Date,
    Timestamp,
    Other,
}

fn family(kind: &DataType) -> Family {
    match kind {
        DataType::Boolean => Family::Number,
        kind if kind.is_numeric() => Family::Number,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Family::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => Family::Binary,
        DataType::Date32 => Family::Date,
        DataType::Date64 | DataType::Timestamp(_, _) => Family::Timestamp,
        _ => Family::Other,
    }
}

/// `array` as `to`, with a null for every value that does not pass unchanged. What may change: a timestamp's precision beyond
/// microseconds, and the way a number or moment is written.
pub(super) fn recast(array: &ArrayRef, to: &DataType) -> ArrayRef {
    if let DataType::Dictionary(_, values) = array.data_type()
        && let Ok(plain) = cast(array, values)
    {
        return recast(&plain, to);
    }
    let from = array.data_type();
    if from == to {
        return Arc::clone(array);
    }
    let checked = match (family(from), family(to)) {
        (Family::Other, Family::Text) | (Family::Number | Family::Date | Family::Timestamp, Family::Text) => return texts(array),
        (Family::Text, Family::Number) => !to.is_floating(),
        (Family::Number, Family::Number) | (Family::Timestamp, Family::Date) => true,
        (Family::Text, _) | (_, Family::Text) | (Family::Binary, Family::Binary) => false,
        (Family::Date | Family::Timestamp, Family::Timestamp) | (Family::Date, Family::Date) => false,
        (Family::Other, Family::Other) => false,
        _ => return new_null_array(to, array.len()),
    };
    attempt(array, to, checked).unwrap_or_else(|_| new_null_array(to, array.len()))
}

fn attempt(array: &ArrayRef, to: &DataType, checked: bool) -> Result<ArrayRef, ArrowError> {
    if !can_cast_types(array.data_type(), to) {
        return Ok(new_null_array(to, array.len()));
    }
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    let changed = cast_with_options(array, to, &safe)?;
    if checked {
        let back = cast_with_options(&changed, array.data_type(), &safe)?;
        return nullif(&changed, &not(&not_distinct(array, &back)?)?);
    }
    if to.is_floating() && family(array.data_type()) == Family::Text {
        let digits = if to == &DataType::Float64 { 15 } else { 6 };
        return nullif(&changed, &longer_than(array, digits)?);
    }
    Ok(changed)
}

/// Which texts have more digits than a float can hold.
fn longer_than(array: &ArrayRef, digits: usize) -> Result<BooleanArray, ArrowError> {
    let texts = cast(array, &DataType::Utf8)?;
    let significant = |text: &str| {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        mantissa.trim_start_matches(['0', '.', '-', '+']).bytes().filter(u8::is_ascii_digit).count()
    };
    Ok(texts.as_string::<i32>().iter().map(|t| Some(t.is_some_and(|t| significant(t) > digits))).collect())
}

/// Each value as the text a person reads.
fn texts(array: &ArrayRef) -> ArrayRef {
    let text = |row| if array.is_null(row) { None } else { array_value_to_string(array, row).ok() };
    Arc::new((0..array.len()).map(text).collect::<StringArray>())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Float64Array, Int64Array, TimestampNanosecondArray};
    use arrow::datatypes::TimeUnit;

    use super::*;

    fn through(array: impl Array + 'static, to: &DataType) -> Vec<String> {
        let changed = recast(&(Arc::new(array) as ArrayRef), to);
        assert_eq!(changed.data_type(), to);
        (0..changed.len()).map(|row| json_text(&changed, row).unwrap()).collect()
    }

    #[test]
    fn numbers_pass_only_where_they_stay_the_same() {
        assert_eq!(through(Int64Array::from(vec![Some(1), Some(i64::MAX), None]), &DataType::Int32), ["1", "null", "null"]);
        assert_eq!(through(Int64Array::from(vec![1, i64::MAX - 1]), &DataType::Float64), ["1.0", "null"]);
        assert_eq!(through(Float64Array::from(vec![2.0, 2.5, f64::NAN]), &DataType::Int64), ["2", "null", "null"]);
        assert_eq!(through(Float64Array::from(vec![0.5, 0.1]), &DataType::Float32), ["0.5", "null"]);
    }

    #[test]
    fn text_becomes_a_number_only_where_it_is_written_as_one() {
        let text = || StringArray::from(vec!["7", "007", "1.10", "x", " 7"]);
        assert_eq!(through(text(), &DataType::Int64), ["7", "null", "null", "null", "null"]);
        assert_eq!(through(StringArray::from(vec!["1.5", "12345678901234567"]), &DataType::Float64), ["1.5", "null"]);
        assert_eq!(through(StringArray::from(vec!["true", "1", "yes"]), &DataType::Boolean), ["true", "null", "null"]);
    }

    #[test]
    fn moments_keep_their_instant_and_dates_their_day() {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(through(TimestampNanosecondArray::from(vec![1_500]), &micros), [r#""1970-01-01T00:00:00.000001Z""#]);
        assert_eq!(through(Date32Array::from(vec![1]), &micros), [r#""1970-01-02T00:00:00Z""#]);
        assert_eq!(through(TimestampNanosecondArray::from(vec![0, 1]), &DataType::Date32), [r#""1970-01-01""#, "null"]);
        assert_eq!(through(Int64Array::from(vec![1]), &DataType::Date32), ["null"]);
    }
}
