//! `lake plan`: what a run would change, and what it costs.

use super::Session;
use crate::arguments::PlanArguments;
use crate::backend::{self, Action, PlanReport, Quantity, TablePlan};
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, grid};
use crate::printer::Surface;
use crate::quantity::{bytes, count, counted};
use crate::style::Tone;

/// Works out the plan and prints it.
pub(crate) async fn run(arguments: &PlanArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let lake = session.settings.lake()?;
    let project = session.prepare(&lake, &arguments.file).await?;
    let report = backend::plan(&project, &arguments.selection.select).await?;
    let status = if arguments.detailed_exitcode && report.has_changes() { ExitStatus::Changes } else { ExitStatus::Done };
    if !session.printer.is_human() {
        return status.once_written(session.printer.json(&report));
    }
    status.once_written(session.printer.result(&text(&report, session.printer.out)))
}

/// How each number is marked, told below a plan that has such a number.
const MARKS: &str = "≤ at most, ~ about, ? known when the tables before have run";

fn text(report: &PlanReport, surface: Surface) -> String {
    let unchanged = report.tables.iter().filter(|t| t.action == Action::None).count();
    let changed = report.tables.len() - unchanged;
    if changed == 0 {
        return format!(
            "nothing to do: {} up to date",
            if unchanged == 1 { "1 table is".to_owned() } else { format!("all {unchanged} tables are") }
        );
    }
    let columns = vec![
        Column::text("table"),
        Column::text("action"),
        Column::number("read"),
        Column::number("size"),
        Column::number("rows"),
        Column::number("rewrite"),
        Column::number("size"),
        Column::number("memory"),
        Column::text("reason").wrapping(),
    ];
    let rows: Vec<Vec<Cell>> = report.tables.iter().map(row).collect();
    let mut text = grid(columns, &rows, surface.width, surface.palette);
    text += &format!("\n{} would change, {unchanged} would not", counted(changed as u64, "table", "tables"));
    let (read, rewritten) = (total(report, |t| t.bytes_read), total(report, |t| t.bytes_rewritten));
    text += &format!("; {} to read, {} to rewrite", told(read, bytes), told(rewritten, bytes));
    if rows.iter().flatten().any(|cell| cell.starts_with(['≤', '~', '?'])) {
        text += &format!("\n{MARKS}");
    }
    text
}

/// Of all tables; unknown where it is of one of them.
fn total(report: &PlanReport, of: fn(&TablePlan) -> Option<Quantity>) -> Option<Quantity> {
    report.tables.iter().map(of).sum()
}

fn row(plan: &TablePlan) -> Vec<Cell> {
    let (action, tone) = action(plan.action);
    let nothing = plan.action == Action::None;
    let number = |number: Option<Quantity>, show: fn(u64) -> String| match number {
        _ if nothing => Cell::new("-", Tone::Faint),
        None => Cell::new("?", Tone::Faint),
        some => Cell::from(told(some, show)),
    };
    let memory = match plan.peak_memory_bytes {
        None if !nothing => Cell::new("no limit", Tone::Faint),
        memory => number(memory, bytes),
    };
    vec![
        Cell::from(&plan.table),
        Cell::new(action, tone),
        number(plan.files_read, count),
        number(plan.bytes_read, bytes),
        number(plan.input_rows, count),
        number(plan.files_rewritten, count),
        number(plan.bytes_rewritten, bytes),
        memory,
        Cell::new(&plan.reason, if nothing { Tone::Faint } else { Tone::Plain }),
    ]
}

/// A number with the mark that says how certain it is; an exact one has none.
fn told(number: Option<Quantity>, show: fn(u64) -> String) -> String {
    match number {
        Some(Quantity::Exact(value)) => show(value),
        Some(Quantity::AtMost(value)) => format!("≤{}", show(value)),
        Some(Quantity::Estimate(value)) => format!("~{}", show(value)),
        None => "?".to_owned(),
    }
}

fn action(action: Action) -> (&'static str, Tone) {
    match action {
        Action::Build => ("build", Tone::Good),
        Action::Append => ("append", Tone::Good),
        Action::Merge => ("merge", Tone::Good),
        Action::Replace => ("replace", Tone::Caution),
        Action::Refresh => ("refresh", Tone::Good),
        Action::None => ("none", Tone::Faint),
    }
}

#[cfg(test)]
mod tests {
    use Quantity::{AtMost, Estimate, Exact};

    use super::*;

    fn plan(table: &str, action: Action, reason: &str, read: [Option<Quantity>; 3], rewrite: [Option<Quantity>; 2]) -> TablePlan {
        let ([files_read, bytes_read, input_rows], [files_rewritten, bytes_rewritten]) = (read, rewrite);
        TablePlan {
            table: table.into(),
            action,
            reason: reason.into(),
            files_read,
            bytes_read,
            input_rows,
            files_rewritten,
            bytes_rewritten,
            rows_rewritten: None,
            files_written: None,
            bytes_written: None,
            rows_written: None,
            peak_memory_bytes: (action != Action::None).then_some(Quantity::AtMost(768 << 20)),
        }
    }

    fn none(table: &str) -> TablePlan {
        plan(table, Action::None, "its input did not change", [Some(Exact(0)); 3], [Some(Exact(0)); 2])
    }

    fn report() -> PlanReport {
        let tables = vec![
            plan(
                "bronze.posts",
                Action::Append,
                "3 new or changed files",
                [Some(Exact(3)), Some(Exact(2 << 20)), Some(Estimate(12_345))],
                [Some(Exact(0)); 2],
            ),
            plan(
                "silver.posts",
                Action::Merge,
                "`bronze.posts` will change",
                [Some(Estimate(1)), Some(Estimate(1 << 20)), Some(Estimate(12_345))],
                [Some(AtMost(40)), Some(AtMost(3 << 30))],
            ),
            TablePlan {
                peak_memory_bytes: None,
                ..plan(
                    "gold.daily_mentions",
                    Action::Replace,
                    "its definition changed",
                    [Some(Exact(40)), Some(Exact(3 << 30)), Some(Exact(9_800_000))],
                    [Some(Exact(4)), Some(Exact(9 << 10))],
                )
            },
            plan("gold.new", Action::Build, "the table does not exist yet", [None; 3], [Some(Exact(0)); 2]),
            none("gold.language_mix"),
        ];
        PlanReport { pipeline: "brand_monitoring".into(), tables }
    }

    #[test]
    fn a_plan_says_what_why_at_what_cost_and_how_certain_that_is() {
        let surface = Surface { width: Some(100), ..Surface::default() };
        let text = text(&report(), surface);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text, @"");
    }

    #[test]
    fn what_is_exact_needs_no_marks() {
        let mut report = report();
        report.tables.drain(..2);
        report.tables.remove(1);
        let text = text(&report, Surface::default());
        assert!(text.ends_with("1 table would change, 1 would not; 3.0 GiB to read, 9.0 KiB to rewrite"), "{text}");
    }

    #[test]
    fn a_plan_without_changes_is_one_sentence() {
        let report = PlanReport { pipeline: "p".into(), tables: vec![none("bronze.posts")] };
        assert_eq!(text(&report, Surface::default()), "nothing to do: 1 table is up to date");
    }
}
