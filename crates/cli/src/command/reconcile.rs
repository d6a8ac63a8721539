//! `lake reconcile`: what differs between tables and the stores that mirror them.

use super::Session;
use crate::arguments::ReconcileArguments;
use crate::backend;
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, Layout};
use crate::quantity::{count, counted};
use crate::style::Tone;

/// Differences of a sink and workspace that are listed for people.
const LISTED: usize = 20;

/// Compares, repairs when asked to, and says what was found.
pub(crate) async fn run(arguments: &ReconcileArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let project = session.prepare(&lake, &arguments.file).await?;
    let report = backend::reconcile(&project, arguments.repair).await?;
    let status = if report.in_step { ExitStatus::Done } else { ExitStatus::Failed };
    if !printer.is_human() {
        return status.once_written(printer.json(&report));
    }
    if report.sinks.is_empty() {
        let text = "nothing to compare: vectors and graph are in the lake's own tables, or there are none";
        return status.once_written(printer.result(text));
    }
    let number = |n: u64| if n == 0 { Cell::new("0", Tone::Faint) } else { Cell::from(count(n)) };
    let rows: Vec<Vec<Cell>> = report
        .sinks
        .iter()
        .map(|s| {
            let names = [Cell::from(&s.sink), Cell::from(&s.workspace)];
            names.into_iter().chain([s.missing, s.different, s.extra, s.repaired].map(number)).collect()
        })
        .collect();
    let columns = [Column::text("sink"), Column::text("workspace")].into_iter();
    let columns = columns.chain(["missing", "different", "extra", "repaired"].map(Column::number)).collect();
    let layout = Layout::fit(columns, &rows, printer.out.width, printer.out.palette);
    let mut text = layout.header();
    text.extend(rows.iter().map(|row| layout.row(row).0));
    for sink in report.sinks.iter().filter(|s| s.total() > 0) {
        text += &format!("\n{} of `{}`:\n", sink.sink, sink.workspace);
        for difference in sink.differences.iter().take(LISTED) {
            text += &format!("  {difference}\n");
        }
        let rest = sink.total().saturating_sub(LISTED as u64);
        if rest > 0 {
            text += &format!("  and {}; `--output json` names them\n", counted(rest, "other", "others"));
        }
    }
    let written = printer.result(text.trim_end());
    let total: u64 = report.sinks.iter().map(super::super::backend::SinkDifferences::total).sum();
    match (total, arguments.repair) {
        (0, _) => printer.say("every store is as its tables are"),
        (_, true) => printer.say("the stores were made as the tables are"),
        (n, false) => {
            printer.hint(&format!("{}: `--repair` makes the stores as the tables are", counted(n, "difference", "differences")))
        }
    }
    status.once_written(written)
}
