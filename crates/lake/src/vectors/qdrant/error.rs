//! What went wrong with Qdrant, in words that say what to do.

use std::error::Error as _;
use std::time::Duration;

use qdrant_client::QdrantError;

use crate::error::{Error, ErrorKind};

/// Codes of gRPC.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const DEADLINE_EXCEEDED: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const ABORTED: i32 = 10;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// What the client says when it gets no connection.
const NO_CONNECTION: &str = "Failed to connect to ";

/// Of an answer's message no more than this is told.
const MESSAGE_CHARS: usize = 400;

/// What a failed request means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The server cannot be reached, or is busy: it may be better later.
    Passing,
    /// There is no such collection.
    NotFound,
    /// The request is wrong.
    Refused,
    /// The key is missing, wrong, or may not do that.
    Forbidden,
    /// Anything else.
    Failed,
}

pub(super) fn meaning(error: &QdrantError) -> Meaning {
    let Some((code, message, of_transport)) = status(error) else { return Meaning::Failed };
    match code {
        code::UNAUTHENTICATED | code::PERMISSION_DENIED => Meaning::Forbidden,
        code::NOT_FOUND => Meaning::NotFound,
        code::INVALID_ARGUMENT => Meaning::Refused,
        code::UNAVAILABLE | code::DEADLINE_EXCEEDED | code::RESOURCE_EXHAUSTED | code::CANCELLED | code::ABORTED => {
            Meaning::Passing
        }
        _ if of_transport || message.starts_with(NO_CONNECTION) => Meaning::Passing,
        code::UNKNOWN if message.contains("transport error") => Meaning::Passing,
        _ => Meaning::Failed,
    }
}

/// How long the server asks to be left alone.
pub(super) fn asked_pause(error: &QdrantError) -> Option<Duration> {
    match error {
        QdrantError::ResourceExhaustedError { retry_after_seconds, .. } => Some(Duration::from_secs(*retry_after_seconds)),
        _ => None,
    }
}

/// This crate's error for what Qdrant at `url` said when it was to do `what`.
pub(super) fn explain(what: &str, url: &str, error: QdrantError) -> Error {
    let (kind, why, hint) = match meaning(&error) {
        Meaning::Forbidden => (ErrorKind::Config, format!("Qdrant at {url} refuses the key: {}", said(&error)), Some(KEY)),
        Meaning::Passing => {
            (ErrorKind::Storage, format!("Qdrant at {url} cannot be reached: {}", unreachable(&error)), Some(UNREACHABLE))
        }
        _ => (ErrorKind::Storage, format!("Qdrant at {url} answers: {}", said(&error)), None),
    };
    let explained = Error::new(kind, format!("cannot {what}: {why}"));
    match hint {
        Some(hint) => explained.with_hint(hint),
        None => explained,
    }
}

const KEY: &str = "set the key of this server in `QDRANT_API_KEY`; it must be allowed to write collections";
const UNREACHABLE: &str = "check `QDRANT_URL` (the port of gRPC, 6334 by default) and that the server runs, then run again: what was \
                           stored is kept";

/// The code, the message, and whether it came from the way instead of the server.
fn status(error: &QdrantError) -> Option<(i32, &str, bool)> {
    match error {
        QdrantError::ResponseError { status } | QdrantError::ResourceExhaustedError { status, .. } => {
            Some((i32::from(status.code()), status.message(), status.source().is_some()))
        }
        _ => None,
    }
}

pub(super) fn said(error: &QdrantError) -> String {
    let message = match status(error) {
        Some((_, message, _)) => message.to_owned(),
        None => error.to_string(),
    };
    message.lines().next().unwrap_or_default().chars().take(MESSAGE_CHARS).collect()
}

fn unreachable(error: &QdrantError) -> String {
    let text = said(error);
    if text.contains("InvalidCertificate") || text.contains("UnknownIssuer") {
        return "its certificate is not trusted".into();
    }
    // The client tells causes in Rust's debug form.
    let quoted = |key: &str| Some(text.rsplit_once(key)?.1.split('"').next()?.to_lowercase());
    match quoted("message: \"").or_else(|| quoted("error: \"")) {
        Some(cause) => cause,
        None if text.starts_with(NO_CONNECTION) => "it takes no connection".into(),
        None => text,
    }
}
