//! How values compare in Cypher.

use std::cmp::Ordering;

use serde_json::Value;

use crate::graph::query::Comparison;

/// Whether a comparison holds; unknown with a null and between sorts that have no order.
pub(super) fn compare(left: &Value, comparison: Comparison, right: &Value) -> Option<bool> {
    match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => equal(left, right).map(|is| !is),
        Comparison::Less => order(left, right).map(Ordering::is_lt),
        Comparison::LessOrEqual => order(left, right).map(Ordering::is_le),
        Comparison::Greater => order(left, right).map(Ordering::is_gt),
        Comparison::GreaterOrEqual => order(left, right).map(Ordering::is_ge),
        Comparison::StartsWith => Some(left.as_str()?.starts_with(right.as_str()?)),
        Comparison::EndsWith => Some(left.as_str()?.ends_with(right.as_str()?)),
        Comparison::Contains => Some(left.as_str()?.contains(right.as_str()?)),
    }
}

pub(super) fn equal(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::Number(_), Value::Number(_)) => Some(order(left, right)?.is_eq()),
        (Value::Array(left), Value::Array(right)) => {
            Some(left.len() == right.len() && left.iter().zip(right).all(|(a, b)| equal(a, b) == Some(true)))
        }
        _ => Some(left == right),
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Array(a), Value::Array(b)) => {
            let first = a.iter().zip(b).map(|(a, b)| order(a, b)).find(|found| *found != Some(Ordering::Equal));
            first.unwrap_or_else(|| Some(a.len().cmp(&b.len())))
        }
        _ => None,
    }
}

/// The order of `ORDER BY`, `min` and `max`, of all values: lists, texts, truth values, numbers, null.
pub(super) fn total_order(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Object(_) => 0,
        Value::Array(_) => 1,
        Value::String(_) => 2,
        Value::Bool(_) => 3,
        Value::Number(_) => 4,
        Value::Null => 5,
    };
    rank(left).cmp(&rank(right)).then_with(|| order(left, right).unwrap_or(Ordering::Equal))
}

/// The same text for values that are the same when they are grouped: 1 and 1.0 are.
pub(super) fn identity(value: &Value) -> String {
    match value {
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (None, Some(float)) if float.fract() == 0.0 && float.abs() < 9e15 => format!("{}", float as i64),
            _ => number.to_string(),
        },
        Value::Array(items) => format!("[{}]", items.iter().map(identity).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}
