//! The one error type of this crate: a kind the caller can act on, a message, a hint, and the cause.

use std::fmt;

/// What the caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Arguments, environment or pipeline are wrong: change them. Exit code 2.
    Config,
    /// The thing asked for does not exist.
    NotFound,
    /// The data broke a promise the pipeline makes (an expectation that must hold, unreadable input).
    Data,
    /// A query is wrong or not allowed.
    Query,
    /// Another writer committed first: read again and recompute.
    Conflict,
    /// Storage could not be read or written: retry, or repair it.
    Storage,
    /// The memory budget is too small for the work.
    Memory,
    /// The caller asked to stop.
    Cancelled,
    /// A bug in this crate.
    Internal,
}

/// An error of the SDK. `Display` gives the message alone; the hint is separate so that a caller can place it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` is lower case without a full stop, with names in backticks.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
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

    /// Puts `place` before the message: what was being done when it failed.
    #[must_use]
    pub fn context(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}
