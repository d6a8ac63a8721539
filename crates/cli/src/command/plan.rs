//! `lake plan`: what a run would change, and what it costs.

use unicode_width::UnicodeWidthStr;

use super::Session;
use crate::arguments::PlanArguments;
use crate::backend::{self, Action, PlanReport, Quantity, TablePlan};
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, grid, wrapped};
use crate::printer::Surface;
use crate::quantity::{bytes, count, counted};
use crate::style::{Palette, Tone};

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

/// The least room for reasons beside the numbers, in characters.
const REASON_WIDTH: usize = 30;

/// How each number is marked, told below every plan.
const MARKS: &str = "≤ at most, ~ about, ? not known yet";

fn text(report: &PlanReport, surface: Surface) -> String {
    let unchanged = report.tables.iter().filter(|t| t.action == Action::None).count();
    let changed = report.tables.len() - unchanged;
    if changed == 0 {
        return format!(
            "nothing to do: {} up to date",
            if unchanged == 1 { "1 table is".to_owned() } else { format!("all {unchanged} tables are") }
        );
    }
    let mut text = table(report, surface);
    text += &format!("\n{} would change, {unchanged} would not", counted(changed as u64, "table", "tables"));
    let (read, rewritten) = (total(report, |t| t.bytes_read), total(report, |t| t.bytes_rewritten));
    text + &format!("; {read} to read, {rewritten} to rewrite\n{MARKS}")
}

/// One row for each table. Where the terminal leaves no room for the reasons beside the numbers, they stand below.
fn table(report: &PlanReport, surface: Surface) -> String {
    let mut rows: Vec<Vec<Cell>> = report.tables.iter().map(row).collect();
    let numbers = grid(columns(), &rows, None, Palette::default());
    let wide = numbers.lines().map(UnicodeWidthStr::width).max().unwrap_or_default();
    if surface.width.is_some_and(|width| width < wide + REASON_WIDTH) {
        return grid(columns(), &rows, surface.width, surface.palette) + &reasons(report, surface);
    }
    for (cells, plan) in rows.iter_mut().zip(&report.tables) {
        cells.push(Cell::new(&plan.reason, if plan.action == Action::None { Tone::Faint } else { Tone::Plain }));
    }
    let with_reason = columns().into_iter().chain([Column::text("reason").wrapping()]).collect();
    grid(with_reason, &rows, surface.width, surface.palette)
}

fn columns() -> Vec<Column> {
    vec![
        Column::text("table"),
        Column::text("action"),
        Column::number("read"),
        Column::number("size"),
        Column::number("rows"),
        Column::number("rewrite"),
        Column::number("size"),
        Column::number("memory"),
    ]
}

/// Why each table would change.
fn reasons(report: &PlanReport, surface: Surface) -> String {
    let changing = report.tables.iter().filter(|t| t.action != Action::None);
    let lines = changing.flat_map(|t| wrapped(&format!("{}: {}", t.table, t.reason), surface.width));
    lines.fold(String::new(), |text, line| text + "\n" + &line) + "\n"
}

/// The bytes of all tables, as far as they are known.
fn total(report: &PlanReport, of: fn(&TablePlan) -> Option<Quantity>) -> String {
    let known: Quantity = report.tables.iter().filter_map(of).sum();
    let all = report.tables.iter().all(|table| of(table).is_some());
    format!("{}{}", if all { "" } else { "more than " }, told(Some(known), bytes))
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
        insta::assert_snapshot!(text, @r"
        table                action   read      size       rows  rewrite      size      memory
        ───────────────────  ───────  ────  ────────  ─────────  ───────  ────────  ──────────
        bronze.posts         append      3   2.0 MiB    ~12,345        0       0 B  ≤768.0 MiB
        silver.posts         merge      ~1  ~1.0 MiB    ~12,345      ≤40  ≤3.0 GiB  ≤768.0 MiB
        gold.daily_mentions  replace    40   3.0 GiB  9,800,000        4   9.0 KiB    no limit
        gold.new             build       ?         ?          ?        0       0 B  ≤768.0 MiB
        gold.language_mix    none        -         -          -        -         -           -

        bronze.posts: 3 new or changed files
        silver.posts: `bronze.posts` will change
        gold.daily_mentions: its definition changed
        gold.new: the table does not exist yet

        4 tables would change, 1 would not; more than ~3.0 GiB to read, ≤3.0 GiB to rewrite
        ≤ at most, ~ about, ? not known yet
        ");
    }

    #[test]
    fn the_total_is_as_certain_as_its_parts_and_reasons_stand_beside_where_there_is_room() {
        let mut report = report();
        report.tables.drain(..2);
        report.tables.remove(1);
        insta::assert_snapshot!(text(&report, Surface { width: Some(140), ..Surface::default() }), @r"
        table                action   read     size       rows  rewrite     size    memory  reason
        ───────────────────  ───────  ────  ───────  ─────────  ───────  ───────  ────────  ────────────────────────
        gold.daily_mentions  replace    40  3.0 GiB  9,800,000        4  9.0 KiB  no limit  its definition changed
        gold.language_mix    none        -        -          -        -        -         -  its input did not change

        1 table would change, 1 would not; 3.0 GiB to read, 9.0 KiB to rewrite
        ≤ at most, ~ about, ? not known yet
        ");
    }

    #[test]
    fn a_plan_without_changes_is_one_sentence() {
        let report = PlanReport { pipeline: "p".into(), tables: vec![none("bronze.posts")] };
        assert_eq!(text(&report, Surface::default()), "nothing to do: 1 table is up to date");
    }
}
