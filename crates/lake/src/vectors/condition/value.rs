//! Values as SQL writes them, made fit for the field they are compared with.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound, Utc};

use super::parse::query;
use super::{Comparison, Condition, Literal};
use crate::error::{Error, Result};
use crate::vectors::store::{FieldKind, PayloadField};

/// A value, as written.
#[derive(Debug)]
pub(super) enum Written {
    Text(String),
    Number(String),
    Bool(bool),
    Time(String),
    Null,
}

/// The condition that `field` compares so with `value`.
pub(super) fn comparison(field: &PayloadField, comparison: Comparison, value: &Written) -> Result<Condition> {
    let ordered = matches!(field.kind, FieldKind::Integer | FieldKind::Float | FieldKind::Datetime);
    if !ordered && !matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
        return Err(query(format!("`{}` has no order that every store keeps", field.name))
            .with_hint("compare it by `=`, `<>` or `IN`; numbers and points in time can be compared by `<` and `>`"));
    }
    let compare = |comparison, literal| Condition::Compare(field.name.clone(), comparison, literal);
    match (field.kind, value) {
        (FieldKind::Integer, Written::Number(digits)) => match digits.parse() {
            Ok(integer) => Ok(compare(comparison, Literal::Integer(integer))),
            Err(_) => Ok(between_integers(field, comparison, number(digits)?)),
        },
        _ => Ok(compare(comparison, literal(field, value)?)),
    }
}

/// What `field` holds when it is equal to `value`: nothing when it can never be.
pub(super) fn equal(field: &PayloadField, value: &Written) -> Result<Option<Literal>> {
    match comparison(field, Comparison::Equal, value)? {
        Condition::Compare(_, _, literal) => Ok(Some(literal)),
        _ => Ok(None),
    }
}

/// Stores differ in what they make of a whole number beside a fraction, so none gets to see one.
fn between_integers(field: &PayloadField, comparison: Comparison, value: f64) -> Condition {
    let compare = |comparison, integer| Condition::Compare(field.name.clone(), comparison, Literal::Integer(integer));
    let (never, always) = (Condition::Any(vec![]), Condition::IsNotNull(field.name.clone()));
    let (below, above) = (whole(value.floor()), whole(value.ceil()));
    match comparison {
        Comparison::Equal if below == above => below.map_or(never, |integer| compare(comparison, integer)),
        Comparison::NotEqual if below == above => below.map_or(always, |integer| compare(comparison, integer)),
        Comparison::Equal => never,
        Comparison::NotEqual => always,
        Comparison::Less => above.map_or(if value > 0.0 { always } else { never }, |integer| compare(comparison, integer)),
        Comparison::GreaterOrEqual => {
            above.map_or(if value > 0.0 { never } else { always }, |integer| compare(comparison, integer))
        }
        Comparison::LessOrEqual => below.map_or(if value > 0.0 { always } else { never }, |integer| compare(comparison, integer)),
        Comparison::Greater => below.map_or(if value > 0.0 { never } else { always }, |integer| compare(comparison, integer)),
    }
}

/// A number without a fraction as an integer, if it is in the range of those.
fn whole(value: f64) -> Option<i64> {
    // The bounds are powers of two, which floating point holds exactly.
    (value >= -(2_f64.powi(63)) && value < 2_f64.powi(63)).then_some(value as i64)
}

fn literal(field: &PayloadField, value: &Written) -> Result<Literal> {
    match (field.kind, value) {
        (FieldKind::Keyword, Written::Text(text)) => Ok(Literal::Text(text.clone())),
        (FieldKind::Float, Written::Number(digits)) => Ok(Literal::Float(number(digits)?)),
        (FieldKind::Bool, Written::Bool(bool)) => Ok(Literal::Bool(*bool)),
        (FieldKind::Datetime, Written::Text(text) | Written::Time(text)) => Ok(Literal::Time(time(text)?)),
        (_, Written::Null) => {
            Err(query(format!("nothing is equal or unequal to null, so `{}` cannot be compared with it", field.name))
                .with_hint("write `IS NULL` or `IS NOT NULL`"))
        }
        (kind, value) => Err(mismatch(field, kind, value)),
    }
}

fn mismatch(field: &PayloadField, kind: FieldKind, value: &Written) -> Error {
    let holds = match kind {
        FieldKind::Keyword => "text",
        FieldKind::Integer => "whole numbers",
        FieldKind::Float => "numbers",
        FieldKind::Bool => "true or false",
        FieldKind::Datetime => "points in time",
        FieldKind::Other => "values that cannot be compared",
    };
    let other = match value {
        Written::Text(_) => "text",
        Written::Number(_) => "a number",
        Written::Bool(_) => "true or false",
        Written::Time(_) => "a point in time",
        Written::Null => "null",
    };
    query(format!("`{}` holds {holds} and cannot be compared with {other}", field.name))
}

fn number(digits: &str) -> Result<f64> {
    let parsed = digits.parse::<f64>().ok().filter(|number| number.is_finite());
    parsed.ok_or_else(|| query(format!("`{digits}` is not a number that a condition can hold")))
}

fn time(text: &str) -> Result<DateTime<Utc>> {
    let naive = || {
        let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
        let of = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
        let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        local.iter().find_map(of).or_else(day)
    };
    let parsed = DateTime::parse_from_rfc3339(text).map(|t| t.to_utc()).ok().or_else(|| Some(naive()?.and_utc()));
    parsed.map(|time| time.trunc_subsecs(6)).ok_or_else(|| {
        query(format!("`{text}` is not a point in time")).with_hint("write it as `2026-01-31T12:00:00Z` or `2026-01-31`")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Condition;
    use super::*;
    use crate::error::ErrorKind;

    fn fields() -> Vec<PayloadField> {
        let field = |name: &str, kind| PayloadField { name: name.into(), kind };
        vec![
            field("lang", FieldKind::Keyword),
            field("stars", FieldKind::Integer),
            field("price", FieldKind::Float),
            field("done", FieldKind::Bool),
            field("at", FieldKind::Datetime),
            field("tags", FieldKind::Other),
        ]
    }

    fn parsed(sql: &str) -> String {
        Condition::parse(sql, &fields()).map(|c| c.to_expr().to_string()).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    #[test]
    fn conditions_are_read_as_sql_means_them() {
        let cases = [
            ("lang = 'en'", "lang = Utf8(\"en\")"),
            ("'en' <> \"lang\"", "lang IS NOT NULL AND lang != Utf8(\"en\")"),
            ("4 < stars", "stars > Int64(4)"),
            ("stars BETWEEN -1 AND 3", "stars >= Int64(-1) AND stars <= Int64(3)"),
            ("stars NOT BETWEEN 1 AND 3", "stars < Int64(1) OR stars > Int64(3)"),
            ("done", "done = Boolean(true)"),
            ("NOT done", "done IS NOT NULL AND done != Boolean(true)"),
            ("true", "Boolean(true)"),
            (
                "NOT (lang = 'en' AND (stars > 1 OR at IS NULL))",
                "lang IS NOT NULL AND lang != Utf8(\"en\") OR stars <= Int64(1) AND at IS NOT NULL",
            ),
            ("price = 2", "price = Float64(2)"),
            ("lang NOT IN ('a', 'b')", "lang IS NOT NULL AND lang NOT IN ([Utf8(\"a\"), Utf8(\"b\")])"),
            ("at >= date '2026-01-02'", "at >= TimestampMicrosecond(1767312000000000, Some(\"UTC\"))"),
            ("at = '2026-01-02T01:00:00+01:00'", "at = TimestampMicrosecond(1767312000000000, Some(\"UTC\"))"),
        ];
        for (sql, expected) in cases {
            assert_eq!(parsed(sql), expected, "{sql}");
        }
    }

    #[test]
    fn fractions_beside_whole_numbers_are_rounded_to_the_right_side() {
        let cases = [
            ("stars > 1.5", "stars > Int64(1)"),
            ("stars >= 1.5", "stars >= Int64(2)"),
            ("stars < -1.5", "stars < Int64(-1)"),
            ("stars <= -1.5", "stars <= Int64(-2)"),
            ("stars = 1.5", "Boolean(false)"),
            ("stars <> 1.5", "stars IS NOT NULL"),
            ("stars = 2.0", "stars = Int64(2)"),
            ("stars < 1e30", "stars IS NOT NULL"),
            ("stars <= -1e30", "Boolean(false)"),
            ("stars IN (1.5)", "Boolean(false)"),
            ("stars NOT IN (1.5)", "stars IS NOT NULL"),
        ];
        for (sql, expected) in cases {
            assert_eq!(parsed(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_a_condition_cannot_hold_is_said() {
        let cases = [
            ("langs = 'en'", "no field `langs`"),
            ("workspace_id = 'x'", "no field `workspace_id`"),
            ("tags = 'x'", "not of a kind"),
            ("stars = 'x'", "holds whole numbers and cannot be compared with text"),
            ("lang = 1", "holds text"),
            ("lang < 'x'", "no order"),
            ("lang = NULL", "null"),
            ("lang IN ('a', NULL)", "null"),
            ("lang LIKE 'a%'", "cannot hold `lang LIKE 'a%'`"),
            ("lang = stars", "cannot hold"),
            ("1 = 1", "cannot hold"),
            ("upper(lang) = 'A'", "cannot hold `upper(lang)`"),
            ("stars", "alone"),
            ("stars IN (SELECT 1)", "cannot hold"),
            ("at > 'tomorrow'", "not a point in time"),
            ("lang = 'en'; DROP TABLE x", "not SQL"),
            ("", "not SQL"),
            ("lang = 'en", "not SQL"),
        ];
        for (sql, expected) in cases {
            let error = Condition::parse(sql, &fields()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Query);
            assert!(error.to_string().contains(expected), "{sql}: {error}");
        }
        let near = Condition::parse("strs > 1", &fields()).unwrap_err();
        assert_eq!(near.hint(), Some("did you mean `stars`?"));
    }

    #[test]
    fn long_chains_are_read_and_longer_ones_refused() {
        let chain = |links: usize| vec!["stars = 1"; links].join(" OR ");
        let Condition::Any(parts) = Condition::parse(&chain(1_000), &fields()).unwrap() else { panic!("not a chain") };
        assert_eq!(parts.len(), 1_000);
        assert!(Condition::parse(&chain(100_000), &fields()).is_err());
        let nested = format!("{}done{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(Condition::parse(&nested, &fields()).is_err());
        let list = (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        Condition::parse(&format!("stars IN ({list})"), &fields()).unwrap();
    }
}
