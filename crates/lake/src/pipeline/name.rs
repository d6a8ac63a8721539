//! Which names tables, columns, pipelines and expectations may have.

use super::model::{Layer, TableName};
use crate::WORKSPACE_COLUMN;
use crate::diagnostic::nearest;

/// The columns beside the delivered ones that every bronze table ends with: where a row came from, and what did not fit.
pub const ORIGIN_COLUMNS: [&str; 5] = ["_source", "_source_row", "_ingested_at", "_run_id", "_rescued"];

/// Suffixes of the tables that the platform keeps beside a silver table.
const KEPT_SUFFIXES: [&str; 2] = ["_quarantine", "_tombstones"];

const MAX_TABLE_CHARS: usize = 64;
const MAX_COLUMN_CHARS: usize = 255;

/// Whether `name` is a column that the platform adds, to any table or to bronze tables.
pub(super) fn is_platform_column(name: &str) -> bool {
    name == WORKSPACE_COLUMN || ORIGIN_COLUMNS.contains(&name)
}

/// Why `name` cannot be a table's name within a layer, or `None` when it can.
pub(super) fn table_refusal(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.chars().count() > MAX_TABLE_CHARS {
        return Some(format!("is longer than {MAX_TABLE_CHARS} characters"));
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Some("does not start with a lower case letter".to_owned());
    }
    if let Some(c) = name.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_')) {
        return Some(format!("has the character {c:?}"));
    }
    let suffix = KEPT_SUFFIXES.iter().find(|s| name.ends_with(*s))?;
    Some(format!("ends with `{suffix}`, which is kept for the tables beside a silver table"))
}

/// A name near `name` that [`table_refusal`] accepts, where there is an obvious one.
pub(super) fn table_repair(name: &str) -> Option<String> {
    let repaired: String =
        name.to_lowercase().chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '_' }).collect();
    let repaired = repaired.trim_matches('_').to_owned();
    table_refusal(&repaired).is_none().then_some(repaired)
}

/// Why `name` cannot be a column of a Delta table, or `None` when it can.
pub(super) fn column_refusal(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.chars().count() > MAX_COLUMN_CHARS {
        return Some(format!("is longer than {MAX_COLUMN_CHARS} characters"));
    }
    let bad = name.chars().find(|c| " ,;{}()=".contains(*c) || c.is_control())?;
    Some(format!("has the character {bad:?}, which other readers of the table refuse"))
}

/// Why `name` cannot name a pipeline or an expectation, or `None` when it can.
pub(super) fn label_refusal(name: &str) -> Option<String> {
    if name.chars().count() > MAX_TABLE_CHARS {
        return Some(format!("is longer than {MAX_TABLE_CHARS} characters"));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Some("does not start with a letter".to_owned());
    }
    let bad = name.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_' || *c == '-'))?;
    Some(format!("has the character {bad:?}"))
}

/// `layer.name` as a checked name, or `None` when it is not of that form.
pub(super) fn parse_table(text: &str) -> Option<TableName> {
    let (layer, name) = text.split_once('.')?;
    let layer = Layer::ALL.into_iter().find(|l| l.as_str() == layer)?;
    table_refusal(name).is_none().then(|| TableName::new(layer, name))
}

/// The question that offers the name of `known` nearest to `name`.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|n| format!("did you mean `{n}`?"))
}

/// `a`, `b` or `c`, each in backticks.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(|n| format!("`{n}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_name_is_lower_case_letters_digits_and_underscores() {
        assert_eq!(table_refusal("daily_mentions_2"), None);
        for name in ["", "Posts", "2nd", "_x", "a-b", "a b", "ä", "posts_quarantine", "posts_tombstones", &"a".repeat(65)] {
            assert!(table_refusal(name).is_some(), "{name}");
        }
        assert_eq!(table_repair("Daily-Mentions").as_deref(), Some("daily_mentions"));
        assert_eq!(table_repair("日本"), None);
    }

    #[test]
    fn a_column_name_has_none_of_the_characters_that_delta_readers_refuse() {
        assert_eq!(column_refusal("createdAt"), None);
        assert_eq!(column_refusal("größe"), None);
        for name in ["", "a b", "a,b", "a;b", "a{b", "a}b", "a(b", "a)b", "a\nb", "a\tb", "a=b"] {
            assert!(column_refusal(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_table_is_written_with_its_layer() {
        assert_eq!(parse_table("bronze.posts"), Some(TableName::new(Layer::Bronze, "posts")));
        for text in ["posts", "iron.posts", "bronze.", "bronze.a.b", "Bronze.posts"] {
            assert_eq!(parse_table(text), None, "{text}");
        }
    }

    #[test]
    fn choices_are_listed_as_a_sentence() {
        assert_eq!(one_of(&["a"]), "`a`");
        assert_eq!(one_of(&["a", "b", "c"]), "`a`, `b` or `c`");
    }
}
