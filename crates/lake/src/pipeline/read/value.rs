//! YAML values as JSON values, by YAML's core schema.

use serde_json::{Map, Number, Value};

use super::Reader;
use crate::pipeline::yaml::{Kind, Node, Scalar};

/// The JSON value of `node`; `None` when it, or something in it, is wrong and has been reported.
pub(super) fn json(reader: &mut Reader, node: &Node) -> Option<Value> {
    match &node.kind {
        Kind::Invalid => None,
        Kind::Scalar(scalar) if !scalar.plain => Some(Value::String(scalar.text.clone())),
        Kind::Scalar(scalar) => {
            let value = plain(scalar);
            if value.is_none() {
                let help = "put it in quotes to keep it as text".to_owned();
                reader.report("wrong-type", node.span, "this number does not fit into JSON", Some(help));
            }
            value
        }
        Kind::Sequence(items) => {
            let values: Vec<Option<Value>> = items.iter().map(|item| json(reader, item)).collect();
            values.into_iter().collect::<Option<Vec<Value>>>().map(Value::Array)
        }
        Kind::Mapping(mapping) => {
            let values: Vec<Option<(String, Value)>> =
                mapping.entries.iter().map(|e| Some((e.key.value.clone(), json(reader, &e.value)?))).collect();
            values.into_iter().collect::<Option<Map<String, Value>>>().map(Value::Object)
        }
    }
}

/// The value of a scalar without quotes; `None` for a number that JSON cannot hold.
fn plain(scalar: &Scalar) -> Option<Value> {
    let text = scalar.text.as_str();
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return None;
    }
    if let Some(digits) = text.strip_prefix("0o").filter(|d| is_all(d, |c| c.is_digit(8))) {
        return u64::from_str_radix(digits, 8).ok().map(Value::from);
    }
    if let Some(digits) = text.strip_prefix("0x").filter(|d| is_all(d, |c| c.is_ascii_hexdigit())) {
        return u64::from_str_radix(digits, 16).ok().map(Value::from);
    }
    if is_all(unsigned, |c| c.is_ascii_digit()) {
        let signed = text.strip_prefix('+').unwrap_or(text);
        return signed.parse::<i64>().map(Value::from).or_else(|_| signed.parse::<u64>().map(Value::from)).ok();
    }
    if is_float(unsigned) {
        return text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number);
    }
    Some(Value::String(text.to_owned()))
}

fn is_all(text: &str, test: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(test)
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(unsigned: &str) -> bool {
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mantissa = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    mantissa && exponent.is_none_or(|e| !e.is_empty() && digits(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<Value> {
        plain(&Scalar { text: text.to_owned(), plain: true, absent: false })
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for (text, expected) in [
            ("null", Value::Null),
            ("~", Value::Null),
            ("true", Value::Bool(true)),
            ("yes", Value::from("yes")),
            ("12", Value::from(12)),
            ("-12", Value::from(-12)),
            ("+12", Value::from(12)),
            ("18446744073709551615", Value::from(u64::MAX)),
            ("0x1F", Value::from(31)),
            ("0o17", Value::from(15)),
            ("1.5", Value::from(1.5)),
            (".5", Value::from(0.5)),
            ("1.", Value::from(1.0)),
            ("1e3", Value::from(1000.0)),
            ("-1.5E-1", Value::from(-0.15)),
            ("1.2.3", Value::from("1.2.3")),
            ("e5", Value::from("e5")),
            (".", Value::from(".")),
            ("2026-01-01", Value::from("2026-01-01")),
            ("--1", Value::from("--1")),
        ] {
            assert_eq!(value(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_number_that_json_cannot_hold_is_refused() {
        for text in [".inf", "-.inf", ".nan", "1e999", "18446744073709551616", "0xFFFFFFFFFFFFFFFFF"] {
            assert_eq!(value(text), None, "{text}");
        }
    }
}
