//! Text to decimals: plain numbers at once, all others by Arrow's own cast.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal128Builder, StringArray, UInt64Array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Decimal128Type};
use arrow::error::ArrowError;

/// Digits that fit in a 64-bit integer whatever they are.
const DIGITS: usize = 18;

/// `values` as decimals of up to `precision` digits, `scale` of them after the point; null where that is not possible. It is what Arrow's cast
/// gives.
pub(super) fn text_to_decimal(values: &StringArray, precision: u8, scale: i8) -> Result<ArrayRef, ArrowError> {
    let mut out = Decimal128Builder::with_capacity(values.len());
    let mut odd = vec![];
    for (row, value) in values.iter().enumerate() {
        match value.map(|v| plain(v.as_bytes(), precision, scale)) {
            None => out.append_null(),
            Some(Some(number)) => out.append_value(i128::from(number)),
            Some(None) => {
                odd.push(row as u64);
                out.append_null();
            }
        }
    }
    let plain = out.finish().with_precision_and_scale(precision, scale)?;
    if odd.is_empty() { Ok(Arc::new(plain)) } else { with_odd(&plain, values, &odd) }
}

/// `plain` with the values of the rows `odd` as Arrow reads them.
fn with_odd(plain: &Decimal128Array, values: &StringArray, odd: &[u64]) -> Result<ArrayRef, ArrowError> {
    let texts = take(values, &UInt64Array::from(odd.to_vec()), None)?;
    let options = CastOptions { safe: true, ..Default::default() };
    let numbers = cast_with_options(&texts, plain.data_type(), &options)?;
    let numbers = numbers.as_primitive::<Decimal128Type>();
    let mut all: Vec<Option<i128>> = plain.iter().collect();
    for (row, number) in odd.iter().zip(numbers.iter()) {
        if let Some(value) = usize::try_from(*row).ok().and_then(|row| all.get_mut(row)) {
            *value = number;
        }
    }
    let all: Decimal128Array = all.into_iter().collect();
    let DataType::Decimal128(precision, scale) = plain.data_type() else { return Ok(Arc::new(all)) };
    Ok(Arc::new(all.with_precision_and_scale(*precision, *scale)?))
}

/// Digits with an optional minus and up to `scale` of them after a point, as the integer that a decimal holds; `None` for anything else.
fn plain(text: &[u8], precision: u8, scale: i8) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let scale = usize::try_from(scale).ok()?;
    if digits.is_empty() || digits.len() > DIGITS || !digits[0].is_ascii_digit() {
        return None;
    }
    let mut number = 0i64;
    let mut after = None;
    for byte in digits {
        match (byte, after) {
            (b'0'..=b'9', _) => {
                number = number * 10 + i64::from(byte - b'0');
                after = after.map(|n: usize| n + 1);
            }
            (b'.', None) => after = Some(0),
            _ => return None,
        }
    }
    let missing = scale.checked_sub(after.unwrap_or(0))?;
    // A point without digits after it is for Arrow to judge.
    if after == Some(0) || digits.len() + missing > DIGITS {
        return None;
    }
    let number = number * 10i64.pow(u32::try_from(missing).ok()?);
    let fits = precision as usize >= DIGITS || number < 10i64.pow(u32::from(precision));
    fits.then_some(if negative { -number } else { number })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn as_arrow(values: &StringArray, precision: u8, scale: i8) -> ArrayRef {
        let options = CastOptions { safe: true, ..Default::default() };
        cast_with_options(values, &DataType::Decimal128(precision, scale), &options).unwrap()
    }

    #[test]
    fn odd_texts_are_read_as_arrow_reads_them() {
        let odd = [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "-.5",
            "+1",
            "1e3",
            "1.005",
            "0.999",
            "9999999999.99",
            "99999999999.99",
            " 1",
            "1 ",
            "N/A",
            "--1",
            "1.2.3",
            "007",
            "-0",
            "123456789012345678901234567890",
            "1_000",
            "1,5",
            "NaN",
            "١",
        ];
        let values = StringArray::from_iter(odd.map(Some).into_iter().chain([None]));
        for (precision, scale) in [(12, 2), (4, 2), (38, 0), (18, 18), (5, 5), (2, 0)] {
            let ours = text_to_decimal(&values, precision, scale).unwrap();
            assert_eq!(&ours, &as_arrow(&values, precision, scale), "{precision},{scale}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_arrow_reads_it(
            texts in prop::collection::vec(prop::option::of("-?[0-9]{0,14}(\\.[0-9]{0,6})?([eE+ x][0-9]?)?"), 0..40),
            precision in 1..=38u8,
            scale in 0..=20i8,
        ) {
            let scale = scale.min(i8::try_from(precision).unwrap());
            let values = StringArray::from(texts);
            prop_assert_eq!(&text_to_decimal(&values, precision, scale).unwrap(), &as_arrow(&values, precision, scale));
        }
    }
}
