//! What went wrong with a store, in words that say what to do.

use std::error::Error as StdError;

use super::breaker::Open;
use crate::error::{Error, ErrorKind};

/// This crate's error for what a store said: `what` was being done. An error of ours that travelled through the store comes out as it was.
pub fn explain(what: &str, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    let error = error.into();
    let causes = causes(error.as_ref());
    if let Some(ours) = causes.iter().find_map(|c| c.downcast_ref::<Error>()) {
        let again = Error::new(ours.kind(), format!("{what}: {ours}"));
        return match ours.hint().map(str::to_owned) {
            Some(hint) => again.with_hint(hint).with_source(error),
            None => again.with_source(error),
        };
    }
    let (why, hint) = reason(&causes);
    let explained = Error::new(ErrorKind::Storage, format!("{what}: {why}"));
    match hint {
        Some(hint) => explained.with_hint(hint).with_source(error),
        None => explained.with_source(error),
    }
}

fn causes<'a>(error: &'a (dyn StdError + Send + Sync + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let first: &'a (dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |e| -> Option<&'a (dyn StdError + 'static)> { (*e).source() }).collect()
}

/// The cause, and what the user can do about it.
fn reason(causes: &[&(dyn StdError + 'static)]) -> (String, Option<&'static str>) {
    let innermost = causes.last().map(|e| first_line(&e.to_string())).unwrap_or_default();
    // What the client was doing, and how often, comes before what went wrong.
    let innermost = innermost
        .rsplit_once(" - ")
        .filter(|_| innermost.contains("Error performing"))
        .map_or(innermost.clone(), |p| p.1.to_owned());
    if let Some(open) = causes.iter().find_map(|c| c.downcast_ref::<Open>()) {
        return (format!("the store cannot be reached: {open}"), Some(UNREACHABLE));
    }
    if let Some(io) = causes.iter().rev().find_map(|c| c.downcast_ref::<std::io::Error>()) {
        match io.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                return ("the disk is full".into(), Some(FULL));
            }
            std::io::ErrorKind::ConnectionRefused => return (format!("the store cannot be reached: {io}"), Some(UNREACHABLE)),
            std::io::ErrorKind::PermissionDenied => {
                return (io.to_string(), Some("give this user the right to read and write the folder"));
            }
            _ => {}
        }
    }
    let text = causes.iter().map(|c| c.to_string()).collect::<Vec<_>>().join("\n");
    if let Some(open) = Open::within(&text) {
        return (format!("the store cannot be reached: {open}"), Some(UNREACHABLE));
    }
    for (code, why, hint) in CODES {
        if text.contains(code) {
            return (why.to_string(), Some(hint));
        }
    }
    let (lower, said) = (text.to_ascii_lowercase(), |part: &str| text.contains(part));
    if lower.contains("certificate") {
        let why = "the store's certificate is not trusted";
        return (format!("{why}: {innermost}"), Some("name the authority's certificate in `AWS_CA_BUNDLE` (a PEM file)"));
    }
    if lower.contains("dns error")
        || lower.contains("failed to lookup")
        || said("error sending request")
        || said("Connection refused")
        || said("connection closed")
    {
        return (format!("the store cannot be reached: {innermost}"), Some(UNREACHABLE));
    }
    if lower.contains("operation timed out") || lower.contains("timed out") {
        return ("the store did not answer in time".into(), Some(UNREACHABLE));
    }
    if said("503 Service Unavailable") || said("429 Too Many Requests") {
        return (
            "the store is overloaded and refused the request again and again".into(),
            Some("run again later, with fewer runs at a time"),
        );
    }
    if said("500 Internal Server Error") || said("502 Bad Gateway") || said("504 Gateway Timeout") {
        return (
            "the store failed again and again with an error of its own".into(),
            Some("look at the store's log, then run again: what was committed is kept"),
        );
    }
    if said("403 Forbidden") || said("401 Unauthorized") {
        return ("the store refuses these credentials".into(), Some(RIGHTS));
    }
    match (between(&text, "<Code>", "</Code>"), between(&text, "<Message>", "</Message>")) {
        (Some(code), Some(message)) => (format!("the store answers {code}: {message}"), None),
        _ => (innermost, None),
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(start)?.1.split_once(end)?.0)
}

const UNREACHABLE: &str = "check `AWS_ENDPOINT_URL` and that the server runs, then run again: what was committed is kept; `lake doctor` tries each step";
const FULL: &str = "free some space, then run again: what was committed is kept, and `lake vacuum` removes what failed runs left";
const RIGHTS: &str = "check the keys in `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` and what they may do, then run again: what was committed is kept";

/// Codes of S3 answers: what each means, and what to do.
const CODES: [(&str, &str, &str); 15] = [
    (
        "InvalidBucketName",
        "the store takes no bucket of that name",
        "correct the bucket in the URI: 3 to 63 lower-case letters, digits, `-` and `.`",
    ),
    ("NoSuchBucket", "the bucket does not exist", "create it, or correct the bucket in the URI; the lake makes none by itself"),
    ("InvalidAccessKeyId", "the store does not know the access key", RIGHTS),
    ("SignatureDoesNotMatch", "the store says the secret key is wrong", RIGHTS),
    ("InvalidSecurity", "the store does not accept the credentials", RIGHTS),
    ("AccessDenied", "these credentials may not do that", RIGHTS),
    ("AllAccessDisabled", "the store refuses all access", RIGHTS),
    (
        "ExpiredToken",
        "the session token has expired",
        "get a new `AWS_SESSION_TOKEN` with its keys, then run again: what was committed is kept",
    ),
    ("InvalidToken", "the session token is not valid", "get a new `AWS_SESSION_TOKEN` with its keys, or leave it out"),
    (
        "RequestTimeTooSkewed",
        "this machine's clock and the store's differ by more than 15 minutes",
        "set the clock (a time service does it), then run again: what was committed is kept",
    ),
    ("StorageFull", "the store's disk is full", FULL),
    ("QuotaExceeded", "the quota of the bucket is used up", FULL),
    ("AuthorizationHeaderMalformed", "the bucket is in another region", "set `AWS_REGION` to the bucket's region"),
    ("PermanentRedirect", "the bucket is in another region", "set `AWS_REGION` to the bucket's region"),
    ("redirect without LOCATION", "the bucket is in another region", "set `AWS_REGION` to the bucket's region"),
];

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    #[test]
    fn an_answers_code_says_what_to_do() {
        let error = explain("cannot open `silver.posts`", generic("403: <Error><Code>RequestTimeTooSkewed</Code></Error>"));
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().starts_with("cannot open `silver.posts`: this machine's clock"), "{error}");
        assert!(error.hint().unwrap().contains("clock"));
    }

    #[test]
    fn an_error_of_ours_comes_out_as_it_was() {
        let ours = Error::new(ErrorKind::Config, "no lock").with_hint("set one");
        let travelled = object_store::Error::Generic { store: "lake", source: Box::new(ours) };
        let error = explain("cannot commit", travelled);
        assert_eq!(
            (error.kind(), error.to_string().as_str(), error.hint()),
            (ErrorKind::Config, "cannot commit: no lock", Some("set one"))
        );
    }

    #[test]
    fn a_full_disk_is_told_as_one() {
        let io = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = explain("cannot write", object_store::Error::Generic { store: "local", source: Box::new(io) });
        assert_eq!(error.to_string(), "cannot write: the disk is full");
    }

    #[test]
    fn an_unknown_cause_is_told_in_its_own_words() {
        assert_eq!(explain("cannot read", generic("odd")).to_string(), "cannot read: odd");
    }
}
