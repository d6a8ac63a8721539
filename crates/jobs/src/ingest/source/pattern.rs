//! The rules of patterns that all stores share.

use std::collections::BTreeSet;

use lake::diagnostic::nearest;
use lake::{Error, ErrorKind};

use crate::ingest::format::Format;

/// `*` and `?` stop at `/`, and a leading `.` is only matched by itself.
pub(super) const OPTIONS: glob::MatchOptions =
    glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Without `.` and doubled `/`; `**` at the end means all files below.
pub(super) fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.last() == Some(&"**") {
        parts.push("*");
    }
    parts.join("/")
}

/// Whether `text` has a wildcard.
pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a wildcard of `pattern` found something that nobody means: a name that starts with `.` or `_`.
pub(super) fn is_hidden(path: &str, pattern: &str) -> bool {
    let named: Vec<&str> = pattern.split('/').collect();
    let fixed = named.iter().take_while(|part| !is_glob(part)).count();
    let meant = |first: char| named.iter().skip(fixed).any(|part| part.starts_with(first));
    path.split('/').skip(fixed).any(|part| is_hidden_name(part) && !part.chars().next().is_some_and(meant))
}

/// Whether a name is passed over in a folder.
pub(super) fn is_hidden_name(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// Whether a file of this name is taken from a folder.
pub(super) fn has_ending(name: &str, format: Option<Format>) -> bool {
    let json = |f| matches!(f, Format::Json | Format::Ndjson);
    match (Format::from_file_name(name), format) {
        (None, _) => false,
        (Some(_), None) => true,
        // Many feeds name files of one object per line `.json`.
        (Some(found), Some(wanted)) => found == wanted || json(found) && json(wanted),
    }
}

fn endings(format: Option<Format>) -> &'static str {
    match format {
        Some(Format::Csv) => "`.csv` or `.tsv`",
        Some(Format::Ndjson | Format::Json) => "`.ndjson`, `.jsonl` or `.json`",
        Some(Format::Parquet) => "`.parquet`",
        None => "`.csv`, `.tsv`, `.ndjson`, `.jsonl`, `.json` or `.parquet`",
    }
}

/// The error for a folder without a file of such an ending.
pub(super) fn no_ending(folder: &str, format: Option<Format>) -> Error {
    Error::new(ErrorKind::NotFound, format!("no file below `{folder}` ends in {}", endings(format)))
        .with_hint("name files of another ending with a pattern, such as `folder/*.txt`")
}

/// The error for a pattern that names nothing.
pub(super) fn no_match(pattern: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no file matches `{pattern}`"))
}

/// The error for a pattern that cannot be.
pub(super) fn no_pattern(pattern: &str, error: &glob::PatternError) -> Error {
    Error::new(ErrorKind::Config, format!("`{pattern}` is not a pattern: {}", error.msg))
        .with_hint("`**` stands alone between two `/`")
}

/// What to say when `folder`, as it is `shown`, holds `names` and not `part`.
pub(super) fn nearest_name(shown: &str, part: &str, names: &BTreeSet<String>) -> String {
    match (nearest(part, names.iter().map(String::as_str)), names.first()) {
        _ if names.is_empty() => format!("{shown} is empty"),
        (Some(name), _) if !is_glob(part) => format!("{shown} has no `{part}`; did you mean `{name}`?"),
        (_, Some(name)) if is_glob(part) => format!("nothing in {shown} matches; it holds `{name}`, for one"),
        _ => format!("{shown} has no `{part}`"),
    }
}
