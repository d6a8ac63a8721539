//! What the SQL parser and the planner complain about, as findings at the word they are about and in our words.

use std::collections::BTreeSet;

use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Location;

use super::sql::SqlText;
use crate::diagnostic::{Diagnostic, Spanned};

impl SqlText<'_> {
    /// What the parser says, at the word it stumbled over.
    pub(super) fn parser_error(&self, error: &ParserError) -> Diagnostic {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
            ParserError::RecursionLimitExceeded => {
                let help = "take some of the brackets or subqueries out";
                return self.error("sql-syntax", self.whole(), "the SQL is nested too deeply").with_help(help);
            }
        };
        let (message, location) = split_location(text);
        let span = location.and_then(|l| self.offset(l)).map_or_else(|| self.last_word(), |at| self.word_at(at));
        let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
        let message = match message.strip_prefix("Expected: ").and_then(|m| m.rsplit_once(", found: ")) {
            Some((expected, "EOF")) => format!("expected {}, but it ends here", expected_word(expected)),
            Some((expected, found)) => format!("expected {}, found `{}`", expected_word(expected), found.trim()),
            None => tidy(message),
        };
        self.error("sql-syntax", span, format!("this is not valid SQL: {message}"))
    }

    /// What the planner says, at the word it is about. `calls` are the functions of the text, one of which may be named.
    pub(super) fn planner_error(&self, error: &DataFusionError, calls: &[Spanned<String>]) -> Diagnostic {
        if let DataFusionError::SQL(parser, _) = error.find_root() {
            return self.parser_error(parser);
        }
        let root = error.find_root().strip_backtrace();
        let noted = error.diagnostic();
        let placed = noted.and_then(|d| d.span).map(|span| self.planned_span(&span));
        let named = || calls.iter().find(|c| names_call(&root, &c.value)).map(|c| c.span);
        let span = placed.or_else(named).unwrap_or_else(|| self.whole());
        if let Some(column) = ambiguous_column(error) {
            let message = format!("`{column}` is a column of more than one table here");
            return self.error("sql", span, message).with_help(format!("write the table before it, as in `a.{column}`"));
        }
        let mut message = tidy(noted.map_or(&root, |d| &d.message));
        // The sides of an operator: each is a note of its own.
        if let Some([left, right]) = noted.map(|d| d.notes.as_slice()) {
            message = format!("{message}: the left {}, the right {}", tidy(&left.message), tidy(&right.message));
        }
        let diagnostic = self.error("sql", span, message);
        match noted.and_then(|d| d.helps.first()) {
            Some(help) => diagnostic.with_help(self.redact(&tidy(&help.message))),
            None => diagnostic,
        }
    }
}

fn ambiguous_column(error: &DataFusionError) -> Option<&str> {
    let DataFusionError::SchemaError(inner, _) = error.find_root() else { return None };
    match inner.as_ref() {
        SchemaError::AmbiguousReference { field } => Some(&field.name),
        _ => None,
    }
}

/// What the parser expected: a token in backticks, a description as it is.
fn expected_word(expected: &str) -> String {
    let described = expected.contains(' ') || expected.chars().all(char::is_lowercase);
    if described { expected.to_owned() } else { format!("`{expected}`") }
}

/// Whether `message` speaks of the function `name`.
fn names_call(message: &str, name: &str) -> bool {
    [format!("'{name}'"), format!("{name}("), format!("`{name}`"), format!("function {name} ")]
        .iter()
        .any(|form| message.contains(form))
}

/// The column that a planner's error says does not exist, with its table when one was written, and the names that do.
pub(super) fn missing_column(error: &DataFusionError) -> Option<(Vec<String>, BTreeSet<String>)> {
    let DataFusionError::SchemaError(inner, _) = error.find_root() else { return None };
    let SchemaError::FieldNotFound { field, valid_fields } = inner.as_ref() else { return None };
    let mut parts: Vec<String> = field.relation.iter().flat_map(|r| r.to_vec()).collect();
    parts.push(field.name.clone());
    Some((parts, valid_fields.iter().map(|f| f.name.clone()).collect()))
}

/// The planner's text as one of ours: first sentence, no prefix, no full stop, lower case, names in backticks, our words for types.
pub(super) fn tidy(message: &str) -> String {
    const PREFIXES: [&str; 8] = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Schema error: ",
        "Execution error: ",
        "Internal error: ",
        "SQL error: ",
        "type_coercion",
        "caused by",
    ];
    let mut text = message.trim();
    while let Some(rest) = PREFIXES.iter().find_map(|p| text.strip_prefix(p)) {
        text = rest.trim_start();
    }
    let text = text.lines().next().unwrap_or_default();
    let text = text.split(". ").next().unwrap_or(text).trim_end_matches(['.', ':', ' ']);
    if text.is_empty() {
        return "this cannot be planned".to_owned();
    }
    let text = our_types(&backticks(text));
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // A word of capitals is a name.
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(chars).collect::<String>()
        }
        _ => text,
    }
}

/// Names that stand in single quotes, in backticks.
fn backticks(text: &str) -> String {
    let mut parts = text.split('\'');
    let mut result = parts.next().unwrap_or_default().to_owned();
    let is_name = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || "_.()".contains(c));
    let rest: Vec<&str> = parts.collect();
    let mut at = 0;
    while let Some(part) = rest.get(at) {
        match rest.get(at + 1) {
            Some(after) if is_name(part) => {
                result.extend(["`", part, "`", after]);
                at += 2;
            }
            _ => {
                result.extend(["'", part]);
                at += 1;
            }
        }
    }
    result
}

/// Arrow's names of types as the language has them.
fn our_types(text: &str) -> String {
    const WORDS: [(&str, &str); 10] = [
        ("Utf8View", "string"),
        ("LargeUtf8", "string"),
        ("Utf8", "string"),
        ("Int32", "integer"),
        ("Int64", "long"),
        ("Float32", "float"),
        ("Float64", "double"),
        ("Boolean", "boolean"),
        ("Date32", "date"),
        ("Null", "null"),
    ];
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        result.push_str(WORDS.iter().find(|(theirs, _)| *theirs == word).map_or(word, |(_, ours)| ours));
        let blank = after.find(char::is_alphanumeric).unwrap_or(after.len());
        let (between, next) = after.split_at(blank);
        result.push_str(between);
        rest = next;
    }
    result
}

/// A parser's message without its place, and the place.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let location = place
        .split_once(", Column: ")
        .and_then(|(line, column)| Some(Location { line: line.trim().parse().ok()?, column: column.trim().parse().ok()? }));
    match location {
        Some(_) => (message, location),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_planners_texts_become_ours() {
        assert_eq!(tidy("Error during planning: Cannot coerce.\nMore"), "cannot coerce");
        assert_eq!(tidy("SQL is hard."), "SQL is hard");
        assert_eq!(tidy("Invalid function 'a.b'. Isn't it, 'x y'?"), "invalid function `a.b`");
        assert_eq!(tidy("it's 'x' of Struct(\"größe\": Utf8)"), "it's `x` of Struct(\"größe\": string)");
        assert_eq!(tidy("'x' is Int64"), "`x` is long");
        assert_eq!(split_location("x at Line: 2, Column: 3"), ("x", Some(Location { line: 2, column: 3 })));
        assert_eq!(split_location("x at Line: y"), ("x at Line: y", None));
    }
}
