//! The one error type of this crate: a kind the caller can act on, a message, a hint, the cause, and for a definitions
//! file every mistake in it with its place.

use std::fmt;
use std::ops::Range;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The method, version, table or file asked for does not exist.
    NotFound,
    /// Definitions, a type's text or the configuration are wrong: change them.
    Invalid,
    /// The catalog does not answer: try again, or start it.
    Unavailable,
    /// The catalog's records could not be read or written: retry, or repair the storage.
    Storage,
}

/// One mistake in a definitions text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionFinding {
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// The cause: lower case, no full stop, names in backticks.
    pub message: String,
    /// The likely fix.
    pub help: Option<String>,
}

/// A definitions text and every mistake in it, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidDefinitions {
    /// The file's path as the user gave it.
    pub path: String,
    /// The whole text, which the spans point into.
    pub text: String,
    /// At least one.
    pub findings: Vec<DefinitionFinding>,
}

impl InvalidDefinitions {
    /// Line and column of a finding's start, both from 1; the column counts characters.
    pub fn position(&self, finding: &DefinitionFinding) -> (usize, usize) {
        position(&self.text, finding.span.start)
    }
}

/// Line and column of byte `at` of `text`, both from 1.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    (line, column)
}

/// An error of the catalog. `Display` gives the message alone; the hint is separate so that a caller can place it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
    definitions: Option<Box<InvalidDefinitions>>,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` is lower case without a full stop, with names in backticks.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None, definitions: None }
    }

    /// An [`ErrorKind::Invalid`] that carries all findings of a definitions text.
    pub fn invalid_definitions(definitions: InvalidDefinitions) -> Self {
        let message = definitions_message(&definitions);
        let hint = match definitions.findings.as_slice() {
            [only] => only.help.clone(),
            _ => None,
        };
        Self { hint, definitions: Some(Box::new(definitions)), ..Self::new(ErrorKind::Invalid, message) }
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Advice, where there is any.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The definitions text and its mistakes, when that is what is wrong.
    pub fn definitions(&self) -> Option<&InvalidDefinitions> {
        self.definitions.as_deref()
    }
}

fn definitions_message(definitions: &InvalidDefinitions) -> String {
    let Some(first) = definitions.findings.first() else {
        return format!("`{}` is not a valid catalog", definitions.path);
    };
    let (line, column) = definitions.position(first);
    let at = format!("{}:{line}:{column}: {}", definitions.path, first.message);
    match definitions.findings.len() - 1 {
        0 => at,
        more => format!("{at} (and {more} more)"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalid(findings: usize) -> Error {
        let finding = DefinitionFinding { span: 8..9, message: "unknown field `x`".into(), help: Some("remove it".into()) };
        Error::invalid_definitions(InvalidDefinitions {
            path: "catalog.json".into(),
            text: "{\n  \"é\": 1}".into(),
            findings: vec![finding; findings],
        })
    }

    #[test]
    fn message_names_file_line_and_column_in_characters() {
        assert_eq!(invalid(1).to_string(), "catalog.json:2:6: unknown field `x`");
        assert_eq!(invalid(1).hint(), Some("remove it"));
        assert_eq!(invalid(3).to_string(), "catalog.json:2:6: unknown field `x` (and 2 more)");
    }

    #[test]
    fn all_findings_and_the_text_are_carried() {
        let error = invalid(3);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.definitions().map(|d| d.findings.len()), Some(3));
    }
}
