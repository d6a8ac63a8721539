//! How a command ends: its exit code, and what is said when it fails.

use std::io;
use std::process::ExitCode;

use lake::diagnostic::Diagnostic;
use lake::{Error, ErrorKind};
use serde_json::json;

use crate::arguments::OutputForm;
use crate::diagnostics;
use crate::printer::Printer;
use crate::style::{Palette, Tone};

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// 0: all is done.
    Done,
    /// 1: the data or a job failed.
    Failed,
    /// 2: the pipeline, the arguments or the configuration are wrong.
    Wrong,
    /// 3: `plan --detailed-exitcode` found changes.
    Changes,
    /// 130: the user stopped it.
    Interrupted,
}

impl ExitStatus {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            ExitStatus::Done => 0,
            ExitStatus::Failed => 1,
            ExitStatus::Wrong => 2,
            ExitStatus::Changes => 3,
            ExitStatus::Interrupted => 130,
        }
    }

    /// The status of a command that ends with an error of this kind: 2 when what the user gave must change, else 1.
    fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Config | ErrorKind::NotFound | ErrorKind::Query => ExitStatus::Wrong,
            ErrorKind::Cancelled => ExitStatus::Interrupted,
            _ => ExitStatus::Failed,
        }
    }

    /// This status after a result was written: a reader that went away changes nothing.
    ///
    /// # Errors
    /// [`Failure::Output`] when the result could not be written for another reason.
    pub(crate) fn once_written(self, written: io::Result<()>) -> Result<Self, Failure> {
        match written {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(e)),
            _ => Ok(self),
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        ExitCode::from(status.code())
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the library, or one of the arguments.
    Error(Error),
    /// What is wrong with the pipeline or the catalog's file.
    Findings(Vec<Diagnostic>),
    /// The result could not be written.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl Failure {
    /// Says what failed, and how the command ends. A reader that went away ends it quietly and well.
    pub(crate) fn report(&self, printer: &Printer) -> ExitStatus {
        match self {
            Failure::Error(error) => {
                report_error(error, printer);
                ExitStatus::of(error.kind())
            }
            Failure::Findings(findings) => ExitStatus::Wrong
                .once_written(diagnostics::report(findings, printer))
                .unwrap_or_else(|failure| failure.report(printer)),
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Done,
            Failure::Output(error) => {
                let error = Error::new(ErrorKind::Storage, format!("cannot write the result: {error}"));
                report_error(&error, printer);
                ExitStatus::Failed
            }
        }
    }
}

/// Says an error with its hint: words for people, or one JSON object.
pub(crate) fn report_error(error: &Error, printer: &Printer) {
    if printer.form() != OutputForm::Json {
        printer.error(&error_text(error, printer.err.palette));
    } else {
        let value = json!({ "error": { "kind": kind_name(error.kind()), "message": error.to_string(), "hint": error.hint() } });
        printer.error(&value.to_string());
    }
}

/// `error: ...`, the cause where it adds something, and the hint.
fn error_text(error: &Error, palette: Palette) -> String {
    let (word, tone) = match error.kind() {
        ErrorKind::Cancelled => ("interrupted:", Tone::Caution),
        _ => ("error:", Tone::Bad),
    };
    let mut text = format!("{} {error}", palette.paint(tone, word));
    if let Some(cause) = safe_cause(error) {
        text += &format!("\n  because: {cause}");
    }
    if let Some(hint) = error.hint() {
        text += &format!("\n{} {hint}", palette.paint(Tone::Strong, "help:"));
    }
    text
}

/// The innermost cause, for the kinds whose causes cannot hold values of rows.
fn safe_cause(error: &Error) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::Config | ErrorKind::Storage) {
        return None;
    }
    let mut cause = std::error::Error::source(error)?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let cause = cause.to_string();
    let line = cause.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
    // The words of the store's client, which the error says in its own.
    let known = line.contains("Error performing") || line.contains("Server returned");
    (!line.is_empty() && !known && !error.to_string().contains(&line)).then_some(line)
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Config => "config",
        ErrorKind::NotFound => "not_found",
        ErrorKind::Data => "data",
        ErrorKind::Query => "query",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Storage => "storage",
        ErrorKind::Memory => "memory",
        ErrorKind::Cancelled => "cancelled",
        _ => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printer::Surface;

    fn said(failure: &Failure, form: OutputForm) -> (ExitStatus, String) {
        let (printer, captured) = Printer::captured(form, Surface::default());
        let status = failure.report(&printer);
        assert_eq!(captured.stdout(), "");
        (status, captured.stderr())
    }

    #[test]
    fn what_the_user_must_change_exits_with_two() {
        for kind in [ErrorKind::Config, ErrorKind::NotFound, ErrorKind::Query] {
            assert_eq!(ExitStatus::of(kind).code(), 2);
        }
        for kind in [ErrorKind::Data, ErrorKind::Storage, ErrorKind::Conflict, ErrorKind::Memory, ErrorKind::Internal] {
            assert_eq!(ExitStatus::of(kind).code(), 1);
        }
        assert_eq!(ExitStatus::of(ErrorKind::Cancelled).code(), 130);
    }

    #[test]
    fn an_error_has_its_cause_and_its_hint() {
        let cause = io::Error::other("connection refused");
        let error = Error::new(ErrorKind::Storage, "cannot list `s3://b/`").with_source(cause).with_hint("is the server up?");
        let (status, text) = said(&Failure::Error(error), OutputForm::Human);
        assert_eq!(status, ExitStatus::Failed);
        insta::assert_snapshot!(text, @r#"
        error: cannot list `s3://b/`
          because: connection refused
        help: is the server up?
        "#);
    }

    #[test]
    fn causes_that_may_hold_values_are_not_shown() {
        for kind in [ErrorKind::Data, ErrorKind::Query, ErrorKind::Conflict, ErrorKind::Internal] {
            let error = Error::new(kind, "the query failed").with_source(io::Error::other("cannot cast 'hunter2'"));
            assert!(!said(&Failure::Error(error), OutputForm::Human).1.contains("hunter2"));
        }
    }

    #[test]
    fn errors_are_json_when_results_are() {
        let error = || Error::new(ErrorKind::NotFound, "there is no table `gold.x`").with_hint("`lake status` lists them").into();
        assert!(said(&error(), OutputForm::Csv).1.starts_with("error: there is no table"));
        let (status, text) = said(&error(), OutputForm::Json);
        assert_eq!(status, ExitStatus::Wrong);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["error"]["kind"], "not_found");
        assert_eq!(value["error"]["hint"], "`lake status` lists them");
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert_eq!(said(&Failure::Output(gone()), OutputForm::Human), (ExitStatus::Done, String::new()));
        assert_eq!(ExitStatus::Failed.once_written(Err(gone())).unwrap(), ExitStatus::Failed);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let (status, text) = said(&Failure::Output(full), OutputForm::Human);
        assert_eq!(status, ExitStatus::Failed);
        assert!(text.starts_with("error: cannot write the result: "), "{text}");
    }
}
