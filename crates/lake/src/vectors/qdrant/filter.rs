//! Conditions as Qdrant's filters.

use qdrant_client::qdrant::r#match::MatchValue;
use qdrant_client::qdrant::{
    Condition as Part, DatetimeRange, FieldCondition, Filter, Match, Range, RepeatedIntegers, RepeatedStrings, Timestamp,
};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::vectors::condition::{Comparison, Condition, Literal};
use crate::workspace_id::{WORKSPACE_COLUMN, WorkspaceId};

/// Qdrant compares the order of whole numbers as floating point, which is exact below this.
const EXACT: u64 = 1 << 53;

/// The points of a workspace.
pub(super) fn of_workspace(workspace: &WorkspaceId) -> Filter {
    Filter::must([workspace_is(workspace)])
}

/// The points of a workspace that have one of `ids`.
pub(super) fn of_ids(workspace: &WorkspaceId, ids: &[Uuid]) -> Filter {
    Filter::must([workspace_is(workspace), Part::has_id(ids.iter().map(|id| id.to_string()))])
}

/// The points of a workspace for which `condition` holds.
///
/// # Errors
/// [`ErrorKind::Query`] for what Qdrant cannot compare.
pub(super) fn to_filter(workspace: &WorkspaceId, condition: Option<&Condition>) -> Result<Filter> {
    let mut filter = of_workspace(workspace);
    if let Some(condition) = condition {
        filter.must.push(part(condition)?);
    }
    Ok(filter)
}

/// A field's name as a path in the payload: anything but plain words in quotes.
///
/// # Errors
/// [`ErrorKind::Query`] for a name with a quote.
pub(super) fn path(field: &str) -> Result<String> {
    if field.contains('"') {
        return Err(Error::new(
            ErrorKind::Query,
            format!("Qdrant cannot take the field name `{field}`, which has a quote in it"),
        ));
    }
    let plain = !field.is_empty() && field.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    Ok(if plain { field.to_owned() } else { format!("\"{field}\"") })
}

fn workspace_is(workspace: &WorkspaceId) -> Part {
    matches(WORKSPACE_COLUMN.into(), MatchValue::Keyword(workspace.as_str().into()))
}

fn part(condition: &Condition) -> Result<Part> {
    Ok(match condition {
        // A filter without parts holds always, whatever joins them.
        Condition::All(parts) if parts.is_empty() => not(never()),
        Condition::Any(parts) if parts.is_empty() => never(),
        Condition::All(parts) => Filter::must(parts.iter().map(part).collect::<Result<Vec<_>>>()?).into(),
        Condition::Any(parts) => Filter::should(parts.iter().map(part).collect::<Result<Vec<_>>>()?).into(),
        Condition::Compare(field, Comparison::Equal, value) => equal(field, value)?,
        Condition::Compare(field, Comparison::NotEqual, value) => differs(field, equal(field, value)?)?,
        Condition::Compare(field, comparison, value) => ordered(field, *comparison, value)?,
        Condition::In(_, values) if values.is_empty() => never(),
        Condition::In(field, values) => one_of(field, values)?,
        Condition::NotIn(field, values) if values.is_empty() => not(Part::is_empty(path(field)?)),
        Condition::NotIn(field, values) => differs(field, one_of(field, values)?)?,
        Condition::IsNull(field) => Part::is_empty(path(field)?),
        Condition::IsNotNull(field) => not(Part::is_empty(path(field)?)),
    })
}

/// Every point has a workspace.
fn never() -> Part {
    Part::is_empty(WORKSPACE_COLUMN)
}

fn not(part: Part) -> Part {
    Filter::must_not([part]).into()
}

/// Not so, and not null: to Qdrant, a field that is missing is unequal to anything.
fn differs(field: &str, equal: Part) -> Result<Part> {
    Ok(Filter::must_not([equal, Part::is_empty(path(field)?)]).into())
}

fn equal(field: &str, value: &Literal) -> Result<Part> {
    let path = path(field)?;
    Ok(match value {
        Literal::Text(text) => matches(path, MatchValue::Keyword(text.clone())),
        Literal::Integer(integer) => matches(path, MatchValue::Integer(*integer)),
        Literal::Bool(bool) => matches(path, MatchValue::Boolean(*bool)),
        Literal::Float(float) => Part::range(path, Range { gte: Some(*float), lte: Some(*float), ..Range::default() }),
        Literal::Time(time) => {
            let time = Some(timestamp(time));
            Part::datetime_range(path, DatetimeRange { gte: time, lte: time, ..DatetimeRange::default() })
        }
    })
}

fn one_of(field: &str, values: &[Literal]) -> Result<Part> {
    let texts = values.iter().map(|v| if let Literal::Text(text) = v { Some(text.clone()) } else { None });
    if let Some(strings) = texts.collect::<Option<Vec<_>>>() {
        return Ok(matches(path(field)?, MatchValue::Keywords(RepeatedStrings { strings })));
    }
    let integers = values.iter().map(|v| if let Literal::Integer(integer) = v { Some(*integer) } else { None });
    if let Some(integers) = integers.collect::<Option<Vec<_>>>() {
        return Ok(matches(path(field)?, MatchValue::Integers(RepeatedIntegers { integers })));
    }
    Ok(Filter::should(values.iter().map(|value| equal(field, value)).collect::<Result<Vec<_>>>()?).into())
}

fn ordered(field: &str, comparison: Comparison, value: &Literal) -> Result<Part> {
    let path = path(field)?;
    match value {
        Literal::Integer(integer) if integer.unsigned_abs() >= EXACT => {
            let message = format!("Qdrant cannot order `{field}` exactly beside a whole number as large as {integer}");
            Err(Error::new(ErrorKind::Query, message).with_hint("compare it by `=` or `IN`, or with a smaller number"))
        }
        Literal::Integer(integer) => Ok(Part::range(path, range(comparison, *integer as f64))),
        Literal::Float(float) => Ok(Part::range(path, range(comparison, *float))),
        Literal::Time(time) => Ok(Part::datetime_range(path, times(comparison, timestamp(time)))),
        Literal::Text(_) | Literal::Bool(_) => {
            let message = format!("Qdrant keeps no order of text or of true and false, as the condition on `{field}` asks for");
            Err(Error::new(ErrorKind::Query, message).with_hint("compare it by `=`, `<>` or `IN`"))
        }
    }
}

fn range(comparison: Comparison, bound: f64) -> Range {
    let (bound, none) = (Some(bound), Range::default());
    match comparison {
        Comparison::Less => Range { lt: bound, ..none },
        Comparison::LessOrEqual => Range { lte: bound, ..none },
        Comparison::Greater => Range { gt: bound, ..none },
        Comparison::GreaterOrEqual => Range { gte: bound, ..none },
        Comparison::Equal | Comparison::NotEqual => Range { gte: bound, lte: bound, ..none },
    }
}

fn times(comparison: Comparison, bound: Timestamp) -> DatetimeRange {
    let (bound, none) = (Some(bound), DatetimeRange::default());
    match comparison {
        Comparison::Less => DatetimeRange { lt: bound, ..none },
        Comparison::LessOrEqual => DatetimeRange { lte: bound, ..none },
        Comparison::Greater => DatetimeRange { gt: bound, ..none },
        Comparison::GreaterOrEqual => DatetimeRange { gte: bound, ..none },
        Comparison::Equal | Comparison::NotEqual => DatetimeRange { gte: bound, lte: bound, ..none },
    }
}

fn timestamp(time: &chrono::DateTime<chrono::Utc>) -> Timestamp {
    // Below the second there are fewer than 2^31 nanoseconds, also in a leap second.
    Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos() as i32 }
}

/// Not by [`Part::matches`]: it makes a search for words of a text with a blank in it, which would match other workspaces too.
fn matches(key: String, value: MatchValue) -> Part {
    FieldCondition { key, r#match: Some(Match { match_value: Some(value) }), ..FieldCondition::default() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_comes_first_and_the_condition_beside_it() {
        let acme = WorkspaceId::new("acme").unwrap();
        let anyone = Condition::Any(vec![Condition::All(vec![]), Condition::IsNull("x".into())]);
        let filter = to_filter(&acme, Some(&anyone)).unwrap();
        assert_eq!(filter.must[0], workspace_is(&acme));
        assert_eq!((filter.must.len(), filter.should.len(), filter.must_not.len()), (2, 0, 0));
    }

    #[test]
    fn a_name_of_several_words_is_matched_whole() {
        let keyword = |name: &str| FieldCondition {
            key: WORKSPACE_COLUMN.into(),
            r#match: Some(Match { match_value: Some(MatchValue::Keyword(name.into())) }),
            ..FieldCondition::default()
        };
        for name in ["acme", "acme corp", "acme\u{a0}corp"] {
            let filter = of_workspace(&WorkspaceId::new(name).unwrap());
            assert_eq!(filter, Filter::must([keyword(name).into()]), "{name}");
        }
    }

    #[test]
    fn what_qdrant_cannot_compare_is_refused() {
        let acme = WorkspaceId::new("acme").unwrap();
        let literals = [Literal::Text("a".into()), Literal::Bool(true), Literal::Integer(i64::MAX), Literal::Integer(i64::MIN)];
        for literal in literals {
            let condition = Condition::Compare("field".into(), Comparison::Less, literal);
            let error = to_filter(&acme, Some(&condition)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Query, "{error}");
        }
        assert!(to_filter(&acme, Some(&Condition::IsNull("a\"b".into()))).is_err());
    }

    #[test]
    fn unusual_names_are_one_step_of_a_path() {
        assert_eq!(path("stars_2").unwrap(), "stars_2");
        assert_eq!(path("a.b[0]").unwrap(), "\"a.b[0]\"");
        assert_eq!(path("größe").unwrap(), "\"größe\"");
    }
}
