//! `lake doctor`: what stands in the way of a run.

use lake::doctor::{Check, CheckStatus, examine};
use serde::Serialize;

use super::Session;
use crate::backend;
use crate::exit::{ExitStatus, Failure};
use crate::style::{Palette, Tone};

/// The result as JSON.
#[derive(Debug, Serialize)]
struct Examination {
    fit: bool,
    checks: Vec<Check>,
}

/// Examines the lake of these settings; exit code 1 when a run would fail.
pub(crate) async fn run(session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let mut checks = examine(&lake).await;
    checks.push(catalog(session, &lake).await);
    let fit = checks.iter().all(|c| c.status != CheckStatus::Failed);
    let done = if fit { ExitStatus::Done } else { ExitStatus::Failed };
    if !printer.is_human() {
        return done.once_written(printer.json(&Examination { fit, checks }));
    }
    let done = done.once_written(printer.result(&text(&checks, printer.out.palette)));
    if fit {
        printer.say("nothing stands in the way of a run");
    } else {
        printer.say("runs will fail until this is mended");
    }
    done
}

async fn catalog(session: &Session, lake: &lake::Lake) -> Check {
    let listed = match backend::catalog(&session.settings, lake) {
        Ok(catalog) => backend::methods(catalog.as_ref(), None).await,
        Err(failure) => Err(failure),
    };
    match listed {
        Ok(methods) => Check::ok("catalog", format!("{} methods", methods.len())),
        Err(Failure::Error(error)) => Check::failed("catalog", &error),
        Err(_) => Check {
            check: "catalog",
            status: CheckStatus::Failed,
            detail: "its definitions have mistakes".into(),
            hint: Some("`lake methods` shows them".into()),
        },
    }
}

fn text(checks: &[Check], palette: Palette) -> String {
    let width = checks.iter().map(|c| c.check.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for check in checks {
        let (word, tone) = match check.status {
            CheckStatus::Ok => ("ok", Tone::Good),
            CheckStatus::Warning => ("look", Tone::Caution),
            CheckStatus::Failed => ("fails", Tone::Bad),
            CheckStatus::Skipped => ("-", Tone::Faint),
        };
        let word = palette.paint(tone, &format!("{word:<5}"));
        lines.push_str(&format!("{word}  {:<width$}  {}\n", check.check, check.detail));
        if let Some(hint) = &check.hint {
            lines.push_str(&format!("{:7}{:width$}  {}\n", "", "", palette.paint(Tone::Faint, hint)));
        }
    }
    lines
}
