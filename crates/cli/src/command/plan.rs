//! `lake plan`: what a run would change, and what it costs.

use super::Session;
use crate::arguments::PlanArguments;
use crate::backend::{self, Action, PlanReport, TablePlan};
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
        Column::number("files"),
        Column::number("size"),
        Column::number("rows"),
        Column::text("reason").wrapping(),
    ];
    let rows: Vec<Vec<Cell>> = report.tables.iter().map(row).collect();
    let mut text = grid(columns, &rows, surface.width, surface.palette);
    let to_read: u64 = report.tables.iter().map(|t| t.bytes).sum();
    text += &format!(
        "\n{} would change, {unchanged} would not; {} to read",
        counted(changed as u64, "table", "tables"),
        bytes(to_read)
    );
    if report.tables.iter().any(|t| !t.exact) {
        text += "\n~ and ? depend on what the tables before bring";
    }
    text
}

fn row(plan: &TablePlan) -> Vec<Cell> {
    let (action, tone) = action(plan.action);
    let nothing = plan.action == Action::None;
    let number = |number: Option<u64>, show: fn(u64) -> String| match number.filter(|n| plan.exact || *n > 0) {
        _ if nothing => Cell::new("-", Tone::Faint),
        None => Cell::new("?", Tone::Faint),
        Some(number) if plan.exact => Cell::from(show(number)),
        Some(number) => Cell::from(format!("~{}", show(number))),
    };
    vec![
        Cell::from(&plan.table),
        Cell::new(action, tone),
        number(Some(plan.files), count),
        number(Some(plan.bytes), bytes),
        number(plan.rows, count),
        Cell::new(&plan.reason, if nothing { Tone::Faint } else { Tone::Plain }),
    ]
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
    use super::*;

    fn plan(table: &str, action: Action, reason: &str, rows: Option<u64>, exact: bool) -> TablePlan {
        let (files, bytes) = if action == Action::None { (0, 0) } else { (3, 1 << 21) };
        TablePlan { table: table.into(), action, reason: reason.into(), files, bytes, rows, exact }
    }

    fn report() -> PlanReport {
        let tables = vec![
            plan("bronze.posts", Action::Append, "3 new or changed of 8 files", None, true),
            plan("silver.posts", Action::Merge, "`bronze.posts` will change", Some(12_345), false),
            plan("gold.daily_mentions", Action::Replace, "its definition changed", Some(9_800), true),
            TablePlan { files: 0, bytes: 0, ..plan("gold.new", Action::Build, "the table does not exist yet", Some(0), false) },
            plan("gold.language_mix", Action::None, "its input did not change", Some(0), true),
        ];
        PlanReport { pipeline: "brand_monitoring".into(), tables }
    }

    #[test]
    fn a_plan_says_what_why_and_at_what_cost() {
        insta::assert_snapshot!(text(&report(), Surface::default()), @r#"
        table                action   files      size     rows  reason
        ───────────────────  ───────  ─────  ────────  ───────  ────────────────────────────
        bronze.posts         append       3   2.0 MiB        ?  3 new or changed of 8 files
        silver.posts         merge       ~3  ~2.0 MiB  ~12,345  `bronze.posts` will change
        gold.daily_mentions  replace      3   2.0 MiB    9,800  its definition changed
        gold.new             build        ?         ?        ?  the table does not exist yet
        gold.language_mix    none         -         -        -  its input did not change

        4 tables would change, 1 would not; 6.0 MiB to read
        ~ and ? depend on what the tables before bring
        "#);
    }

    #[test]
    fn a_plan_without_changes_is_one_sentence() {
        let tables = vec![plan("bronze.posts", Action::None, "no new or changed files", Some(0), true)];
        let report = PlanReport { pipeline: "p".into(), tables };
        assert_eq!(text(&report, Surface::default()), "nothing to do: 1 table is up to date");
    }
}
