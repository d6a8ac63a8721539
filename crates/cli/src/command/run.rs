//! `lake run`: brings the tables of a pipeline up to date.

use lake::Lake;
use lake::report::{RunReport, RunStatus};

use super::Session;
use crate::arguments::RunArguments;
use crate::backend::{self, RunOptions};
use crate::exit::{ExitStatus, Failure};
use crate::style::Tone;
use crate::summary::{is_first, is_unchanged, summary};
use crate::{progress, suggestion};

/// Runs the pipeline and prints its report. Asked to stop, it ends after the step in progress, with its report.
pub(crate) async fn run(arguments: RunArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let lake = session.settings.lake()?;
    let options = RunOptions {
        select: arguments.selection.select,
        full_refresh: arguments.full_refresh,
        observer: progress::observer(&session.printer),
        cancel: session.cancel.clone(),
    };
    let ran = match backend::recall(&session.settings, &lake, &arguments.file.pipeline, &options).await? {
        Some(report) => Ok(report),
        None => {
            let project = session.prepare(&lake, &arguments.file).await?;
            backend::run(&project, options).await
        }
    };
    session.printer.hide_bars();
    let report = ran?;
    let status = status(report.status);
    if !session.printer.is_human() {
        return status.once_written(session.printer.json(&report));
    }
    let written = session.printer.result(&summary(&report, session.printer.out));
    say_more(&report, &lake, session).await?;
    status.once_written(written)
}

fn status(status: RunStatus) -> ExitStatus {
    match status {
        RunStatus::Succeeded => ExitStatus::Done,
        RunStatus::Failed => ExitStatus::Failed,
        RunStatus::Interrupted => ExitStatus::Interrupted,
    }
}

/// Where the report lies, and after a first run what to type next.
async fn say_more(report: &RunReport, lake: &Lake, session: &Session) -> Result<(), Failure> {
    let printer = &session.printer;
    if printer.is_quiet() || is_unchanged(report) {
        return Ok(());
    }
    printer.say(&format!("report: {}", report_place(report, lake)));
    if report.status == RunStatus::Succeeded && is_first(report) {
        let commands = suggestion::after_run(report, lake, &session.settings).await?;
        if !commands.is_empty() {
            let title = printer.err.palette.paint(Tone::Strong, "next:");
            printer.say(&format!("\n{title}\n  {}", commands.join("\n  ")));
        }
    }
    Ok(())
}

/// The report's path, short where it is below the current folder, or its URL.
fn report_place(report: &RunReport, lake: &Lake) -> String {
    let relative = backend::report_path(report);
    let Some(root) = lake.root().local_path() else { return format!("{}{relative}", lake.root().url()) };
    let root = match std::env::current_dir() {
        Ok(current) => root.strip_prefix(current).map(ToOwned::to_owned).unwrap_or(root),
        Err(_) => root,
    };
    root.join(relative).display().to_string()
}
