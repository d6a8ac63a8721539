//! Conditions on payload fields that every store can check.

mod parse;
mod value;

use chrono::{DateTime, Utc};
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};

use super::store::PayloadField;
use crate::error::Result;

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A point in time, to the microsecond.
    Time(DateTime<Utc>),
}

/// How a field is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`; a null is not unequal.
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A condition on the payload of a point. A comparison with a null does not hold; nor does its negation, as in SQL.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All hold; of none, always.
    All(Vec<Condition>),
    /// At least one holds; of none, never.
    Any(Vec<Condition>),
    /// The field compares so with the value.
    Compare(String, Comparison, Literal),
    /// The field is one of the values.
    In(String, Vec<Literal>),
    /// The field has a value, which is none of these.
    NotIn(String, Vec<Literal>),
    /// The field is null or missing.
    IsNull(String),
    /// The field has a value.
    IsNotNull(String),
}

impl Condition {
    /// Reads a condition in SQL: comparisons of one of `fields` with a value (`=`, `<>`, `<`, `<=`, `>`, `>=`, `BETWEEN`, `IN`), `IS NULL`,
    /// and true-or-false fields by their name, joined by `AND`, `OR`, `NOT` and parentheses. Points in time are written
    /// `'2026-01-31T12:00:00Z'` or shorter, with or without the word `timestamp`; without an offset they are UTC.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Query`] for anything else, an unknown field, or a value of another kind than the field.
    pub fn parse(sql: &str, fields: &[PayloadField]) -> Result<Self> {
        parse::parse(sql, fields)
    }

    /// The same condition over columns of the fields' names.
    pub fn to_expr(&self) -> Expr {
        match self {
            Self::All(all) => joined(all, Operator::And).unwrap_or_else(|| lit(true)),
            Self::Any(any) => joined(any, Operator::Or).unwrap_or_else(|| lit(false)),
            Self::Compare(field, Comparison::NotEqual, value) => present(field, column(field).not_eq(value.to_expr())),
            Self::Compare(field, comparison, value) => binary_expr(column(field), comparison.operator(), value.to_expr()),
            Self::In(_, values) if values.is_empty() => lit(false),
            Self::In(field, values) => column(field).in_list(values.iter().map(Literal::to_expr).collect(), false),
            Self::NotIn(field, values) if values.is_empty() => column(field).is_not_null(),
            Self::NotIn(field, values) => {
                present(field, column(field).in_list(values.iter().map(Literal::to_expr).collect(), true))
            }
            Self::IsNull(field) => column(field).is_null(),
            Self::IsNotNull(field) => column(field).is_not_null(),
        }
    }
}

impl Comparison {
    /// The comparison that holds for values exactly when this one does not.
    fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The comparison with its sides swapped.
    fn swapped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    fn operator(self) -> Operator {
        match self {
            Self::Equal => Operator::Eq,
            Self::NotEqual => Operator::NotEq,
            Self::Less => Operator::Lt,
            Self::LessOrEqual => Operator::LtEq,
            Self::Greater => Operator::Gt,
            Self::GreaterOrEqual => Operator::GtEq,
        }
    }
}

impl Literal {
    fn to_expr(&self) -> Expr {
        match self {
            Self::Text(text) => lit(text.as_str()),
            Self::Integer(integer) => lit(*integer),
            Self::Float(float) => lit(*float),
            Self::Bool(bool) => lit(*bool),
            Self::Time(time) => lit(ScalarValue::TimestampMicrosecond(Some(time.timestamp_micros()), Some("UTC".into()))),
        }
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// DataFusion simplifies `x NOT IN (1) OR x NOT IN (2)` to true, also where `x` is null; with this beside each it does not.
fn present(field: &str, unequal: Expr) -> Expr {
    column(field).is_not_null().and(unequal)
}

/// A balanced tree: a long chain would nest as deep as it is long.
fn joined(conditions: &[Condition], operator: Operator) -> Option<Expr> {
    match conditions {
        [] => None,
        [one] => Some(one.to_expr()),
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            Some(binary_expr(joined(left, operator)?, operator, joined(right, operator)?))
        }
    }
}
