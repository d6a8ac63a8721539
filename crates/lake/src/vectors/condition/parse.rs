//! Conditions out of SQL.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, UnaryOperator, Value};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::value::{self, Written};
use super::{Comparison, Condition};
use crate::diagnostic::nearest;
use crate::error::{Error, ErrorKind, Result};
use crate::vectors::store::{FieldKind, PayloadField};

/// Words and operators. The parser makes a tree of a longer chain that is too deep to be dropped safely.
const MAX_WORDS: usize = 4_000;

/// `AND` in `OR` in `AND` and so on. Stores take conditions as nested messages, which their decoders limit.
const MAX_DEPTH: usize = 16;

const GRAMMAR: &str = "a condition compares fields of the payload with values, as in `lang = 'en' AND stars >= 4`; it can hold `=`, `<>`, \
                       `<`, `<=`, `>`, `>=`, `BETWEEN`, `IN`, `IS NULL`, `AND`, `OR`, `NOT` and parentheses";

pub(super) fn parse(sql: &str, fields: &[PayloadField]) -> Result<Condition> {
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|e| not_sql(&e.to_string()))?;
    if tokens.iter().filter(|t| is_word(t)).count() > MAX_WORDS {
        return Err(query(format!("the condition has more than {MAX_WORDS} words and operators")));
    }
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().and_then(|expr| parser.expect_token(&Token::EOF).map(|_| expr));
    let expr = parsed.map_err(|e| match e {
        ParserError::TokenizerError(said) | ParserError::ParserError(said) => not_sql(&said),
        ParserError::RecursionLimitExceeded => too_deep(),
    })?;
    let condition = Reader { fields }.read(&expr, false)?;
    if depth(&condition) > MAX_DEPTH { Err(too_deep()) } else { Ok(condition) }
}

/// An error about a condition.
pub(super) fn query(message: String) -> Error {
    Error::new(ErrorKind::Query, message)
}

fn not_sql(said: &str) -> Error {
    query(format!("the condition is not SQL: {said}")).with_hint(GRAMMAR)
}

fn too_deep() -> Error {
    query("the condition nests too deeply".into()).with_hint("write it with fewer parentheses within each other")
}

fn is_word(token: &TokenWithSpan) -> bool {
    !matches!(token.token, Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::Comma | Token::EOF)
}

fn depth(condition: &Condition) -> usize {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}

struct Reader<'a> {
    fields: &'a [PayloadField],
}

impl Reader<'_> {
    /// The condition of `expr`, or of its negation. What is null is neither, so negations can be moved to the leaves.
    fn read(&self, expr: &Expr, negated: bool) -> Result<Condition> {
        match expr {
            Expr::Nested(inner) => self.read(inner, negated),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.read(expr, !negated),
            Expr::BinaryOp { op: op @ (BinaryOperator::And | BinaryOperator::Or), .. } => self.junction(expr, op, negated),
            Expr::BinaryOp { left, op, right } => {
                let comparison = comparison(op).ok_or_else(|| unfit(expr))?;
                self.compare(left, comparison, right, negated).ok_or_else(|| unfit(expr))?
            }
            Expr::InList { expr, list, negated: not_in } => self.one_of(expr, list, negated != *not_in),
            Expr::Between { expr, negated: outside, low, high } => self.between(expr, (low, high), negated != *outside),
            Expr::IsNull(field) => Ok(presence(&self.field(field)?.name, negated)),
            Expr::IsNotNull(field) => Ok(presence(&self.field(field)?.name, !negated)),
            Expr::Value(value) => match value.value {
                Value::Boolean(holds) if holds != negated => Ok(Condition::All(vec![])),
                Value::Boolean(_) => Ok(Condition::Any(vec![])),
                _ => Err(unfit(expr)),
            },
            Expr::Identifier(_) => match self.field(expr)? {
                field if field.kind == FieldKind::Bool => {
                    value::comparison(field, inverted(Comparison::Equal, negated), &Written::Bool(true))
                }
                field => Err(query(format!("`{}` alone is not true or false", field.name)).with_hint(GRAMMAR)),
            },
            other => Err(unfit(other)),
        }
    }

    /// All of a chain of the same operator at once: chains are long, and the stack is not.
    fn junction(&self, expr: &Expr, operator: &BinaryOperator, negated: bool) -> Result<Condition> {
        let (mut parts, mut rest) = (Vec::new(), expr);
        loop {
            match rest {
                Expr::BinaryOp { left, op, right } if op == operator => {
                    parts.push(self.read(right, negated)?);
                    rest = left;
                }
                first => {
                    parts.push(self.read(first, negated)?);
                    parts.reverse();
                    let all = (*operator == BinaryOperator::And) != negated;
                    return Ok(if all { Condition::All(parts) } else { Condition::Any(parts) });
                }
            }
        }
    }

    /// `None` when it is not a field beside a value.
    fn compare(&self, left: &Expr, comparison: Comparison, right: &Expr, negated: bool) -> Option<Result<Condition>> {
        let (field, comparison, value) = match (written(left), written(right)) {
            (None, Some(value)) => (left, comparison, value),
            (Some(value), None) => (right, comparison.swapped(), value),
            _ => return None,
        };
        Some(self.field(field).and_then(|field| value::comparison(field, inverted(comparison, negated), &value)))
    }

    fn between(&self, expr: &Expr, (low, high): (&Expr, &Expr), outside: bool) -> Result<Condition> {
        let (Some(low), Some(high)) = (written(low), written(high)) else { return Err(unfit(expr)) };
        let field = self.field(expr)?;
        let parts = vec![
            value::comparison(field, inverted(Comparison::GreaterOrEqual, outside), &low)?,
            value::comparison(field, inverted(Comparison::LessOrEqual, outside), &high)?,
        ];
        Ok(if outside { Condition::Any(parts) } else { Condition::All(parts) })
    }

    fn one_of(&self, expr: &Expr, list: &[Expr], negated: bool) -> Result<Condition> {
        let field = self.field(expr)?;
        let mut values = Vec::with_capacity(list.len());
        for item in list {
            values.extend(value::equal(field, &written(item).ok_or_else(|| unfit(item))?)?);
        }
        Ok(if negated { Condition::NotIn(field.name.clone(), values) } else { Condition::In(field.name.clone(), values) })
    }

    fn field(&self, expr: &Expr) -> Result<&PayloadField> {
        let name = match expr {
            Expr::Nested(inner) => return self.field(inner),
            Expr::Identifier(Ident { value, .. }) => value,
            other => return Err(unfit(other)),
        };
        let names = || self.fields.iter().map(|f| f.name.as_str());
        let found = self.fields.iter().find(|f| f.name == *name).ok_or_else(|| {
            let hint = match nearest(name, names()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.fields.is_empty() => "the payload has no fields that a condition can name".into(),
                None => format!("its fields are {}", names().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")),
            };
            query(format!("the payload has no field `{name}`")).with_hint(hint)
        })?;
        if found.kind == FieldKind::Other {
            return Err(query(format!("`{name}` is not of a kind that a condition can compare"))
                .with_hint("fields of text, numbers, true or false, and points in time can be compared"));
        }
        Ok(found)
    }
}

fn inverted(comparison: Comparison, negated: bool) -> Comparison {
    if negated { comparison.negated() } else { comparison }
}

fn presence(field: &str, present: bool) -> Condition {
    if present { Condition::IsNotNull(field.into()) } else { Condition::IsNull(field.into()) }
}

fn unfit(expr: &Expr) -> Error {
    let mut text = expr.to_string();
    if let Some((end, _)) = text.char_indices().nth(80) {
        text.truncate(end);
        text.push_str("...");
    }
    query(format!("a condition cannot hold `{text}`")).with_hint(GRAMMAR)
}

fn comparison(operator: &BinaryOperator) -> Option<Comparison> {
    Some(match operator {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// The value that `expr` writes out, if it does.
fn written(expr: &Expr) -> Option<Written> {
    match expr {
        Expr::Nested(inner) => written(inner),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(Written::Text(text.clone())),
            Value::Number(digits, _) => Some(Written::Number(digits.clone())),
            Value::Boolean(bool) => Some(Written::Bool(*bool)),
            Value::Null => Some(Written::Null),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match written(expr)? {
            Written::Number(digits) => Some(Written::Number(match digits.strip_prefix('-') {
                Some(positive) => positive.into(),
                None => format!("-{digits}"),
            })),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => written(expr).filter(|w| matches!(w, Written::Number(_))),
        Expr::TypedString(typed) => {
            let of = typed.data_type.to_string().to_ascii_uppercase();
            let time = of.starts_with("TIMESTAMP") || of.starts_with("DATE");
            typed.value.value.clone().into_string().filter(|_| time).map(Written::Time)
        }
        _ => None,
    }
}
