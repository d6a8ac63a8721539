//! What a run did, for people: one table, what wants a look, and what to type next.

use lake::report::{RunReport, RunStatus, SinkStatus, Strategy, TableReport, TableStatus};

use crate::grid::{Cell, Column, Layout};
use crate::printer::Surface;
use crate::quantity::{bytes, count, counted, percent, seconds};
use crate::style::{Palette, Tone};

/// The whole summary, without a line end.
pub(crate) fn summary(report: &RunReport, surface: Surface) -> String {
    if is_unchanged(report) {
        return format!("nothing to do: {} up to date", tables_are(report.tables.len()));
    }
    let mut parts = vec![table(report, surface)];
    parts.extend(sinks(report, surface));
    parts.extend(quarantined(report, surface.palette));
    parts.extend(expectations(report, surface.palette));
    parts.extend(failures(report, surface.palette));
    parts.push(verdict(report, surface.palette));
    parts.iter().map(|part| part.trim_end()).collect::<Vec<_>>().join("\n\n")
}

/// How each sink stands.
fn sinks(report: &RunReport, surface: Surface) -> Option<String> {
    if report.sinks.is_empty() {
        return None;
    }
    let columns = vec![
        Column::text("sink"),
        Column::text("status"),
        Column::text("store").shrinking(),
        Column::number("upserted"),
        Column::number("deleted"),
        Column::number("time").dispensable(2),
    ];
    let number = |n: u64| if n == 0 { Cell::new("0", Tone::Faint) } else { Cell::from(count(n)) };
    let rows: Vec<Vec<Cell>> = report
        .sinks
        .iter()
        .map(|sink| {
            let (status, tone) = match sink.status {
                SinkStatus::InStep => ("in step", Tone::Good),
                SinkStatus::Behind => ("behind", Tone::Bad),
            };
            let (upserted, deleted) = (number(sink.upserted), number(sink.deleted));
            let time = Cell::from(seconds(sink.seconds));
            vec![Cell::from(&sink.sink), Cell::new(status, tone), Cell::from(&sink.store), upserted, deleted, time]
        })
        .collect();
    let layout = Layout::fit(columns, &rows, surface.width, surface.palette);
    let mut text = layout.header();
    text.extend(rows.iter().map(|row| layout.row(row).0));
    Some(text)
}

/// Whether the run succeeded and found nothing to do.
pub(crate) fn is_unchanged(report: &RunReport) -> bool {
    report.status == RunStatus::Succeeded && report.tables.iter().all(|t| t.status == TableStatus::Unchanged)
}

/// Whether every table that was written did not exist before.
pub(crate) fn is_first(report: &RunReport) -> bool {
    let mut written = report.tables.iter().filter(|t| t.status == TableStatus::Written).peekable();
    written.peek().is_some() && written.all(|t| t.version_from.is_none())
}

fn tables_are(number: usize) -> String {
    match number {
        1 => "1 table is".to_owned(),
        n => format!("all {n} tables are"),
    }
}

/// A column of numbers: its title, its value, how it is shown, and the rank by which a narrow terminal goes without it.
struct Figure {
    title: &'static str,
    of: fn(&TableReport) -> u64,
    show: fn(u64) -> String,
    rank: Option<u8>,
}

/// The rank of a column that holds only zeros: it goes first.
const EMPTY_RANK: u8 = 9;

/// The columns before the figures.
const LEADING_COLUMNS: usize = 3;

const FIGURES: [Figure; 8] = [
    Figure { title: "read", of: |t| t.rows_read, show: count, rank: None },
    Figure { title: "written", of: |t| t.rows_written, show: count, rank: None },
    Figure { title: "dropped", of: |t| t.rows_dropped, show: count, rank: Some(3) },
    Figure { title: "quarantined", of: |t| t.rows_quarantined, show: count, rank: Some(1) },
    Figure { title: "superseded", of: |t| t.rows_superseded, show: count, rank: Some(4) },
    Figure { title: "deleted", of: |t| t.rows_deleted, show: count, rank: Some(5) },
    Figure { title: "files", of: |t| t.files_written, show: count, rank: Some(7) },
    Figure { title: "size", of: |t| t.bytes_written, show: bytes, rank: Some(6) },
];

/// The figures that rows went to; all of them together are what was read, so none is left untold.
const ROW_FIGURES: std::ops::Range<usize> = 2..6;

fn table(report: &RunReport, surface: Surface) -> String {
    let mut columns = vec![Column::text("table"), Column::text("status"), Column::text("strategy").dispensable(8)];
    for figure in &FIGURES {
        let column = Column::number(figure.title);
        let empty = report.tables.iter().all(|t| (figure.of)(t) == 0);
        columns.push(match figure.rank {
            Some(rank) => column.dispensable(if empty { EMPTY_RANK } else { rank }),
            None => column,
        });
    }
    columns.push(Column::number("time").dispensable(2));
    let rows: Vec<Vec<Cell>> = report.tables.iter().map(row).collect();
    let layout = Layout::fit(columns, &rows, surface.width, surface.palette);
    let mut text = layout.header();
    text.extend(rows.iter().map(|row| layout.row(row).0));
    text.extend(untold(report, &layout));
    text
}

/// What the rows of the columns became that a narrow terminal has no room for.
fn untold(report: &RunReport, layout: &Layout) -> Vec<String> {
    let hidden = FIGURES.iter().enumerate().filter(|(i, _)| ROW_FIGURES.contains(i) && !layout.shows(LEADING_COLUMNS + i));
    let hidden: Vec<&Figure> = hidden.map(|(_, figure)| figure).collect();
    let line = |table: &TableReport| {
        let told = hidden.iter().filter(|f| (f.of)(table) > 0).map(|f| format!("{} {}", (f.show)((f.of)(table)), f.title));
        let told: Vec<String> = told.collect();
        (!told.is_empty()).then(|| format!("also {}: {}\n", table.table, told.join(", ")))
    };
    report.tables.iter().filter_map(line).collect()
}

fn row(table: &TableReport) -> Vec<Cell> {
    let (status, tone) = status(table.status);
    let strategy = table.strategy.map_or_else(nothing, |s| Cell::from(strategy(s)));
    let mut cells = vec![Cell::from(&table.table), Cell::new(status, tone), strategy];
    let worked = matches!(table.status, TableStatus::Written | TableStatus::Unchanged);
    cells.extend(FIGURES.iter().map(|figure| match (figure.of)(table) {
        0 if worked => Cell::new("0", Tone::Faint),
        0 => nothing(),
        n => Cell::from((figure.show)(n)),
    }));
    cells.push(if table.status == TableStatus::Skipped { nothing() } else { Cell::from(seconds(table.seconds)) });
    cells
}

fn nothing() -> Cell {
    Cell::new("-", Tone::Faint)
}

fn status(status: TableStatus) -> (&'static str, Tone) {
    match status {
        TableStatus::Written => ("written", Tone::Good),
        TableStatus::Unchanged => ("unchanged", Tone::Faint),
        TableStatus::Failed => ("failed", Tone::Bad),
        TableStatus::Skipped => ("skipped", Tone::Caution),
    }
}

fn strategy(strategy: Strategy) -> &'static str {
    match strategy {
        Strategy::Append => "append",
        Strategy::Merge => "merge",
        Strategy::MergeOnRead => "mark",
        Strategy::Replace => "replace",
        Strategy::Refresh => "refresh",
    }
}

/// The most reasons that are told of one table; all are in the report.
const REASONS_TOLD: usize = 4;

/// Why rows were set aside, and where they are: the most frequent reasons of each table.
fn quarantined(report: &RunReport, palette: Palette) -> Option<String> {
    let mut lines = vec![];
    for table in &report.tables {
        let mut reasons: Vec<(&String, &u64)> = table.quarantine_reasons.iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let (told, rest) = reasons.split_at(reasons.len().min(REASONS_TOLD));
        let line = |rows: u64, why: &str| format!("  {}: {}: {why}", table.table, counted(rows, "row", "rows"));
        lines.extend(told.iter().map(|(reason, rows)| line(**rows, reason)));
        if !rest.is_empty() {
            let reasons = counted(rest.len() as u64, "other reason", "other reasons");
            lines.push(line(rest.iter().map(|(_, rows)| **rows).sum(), &format!("{reasons}, see the report")));
        }
    }
    let title = palette.paint(Tone::Caution, "quarantined, kept in `<table>_quarantine` with reason and origin:");
    (!lines.is_empty()).then(|| format!("{title}\n{}", lines.join("\n")))
}

/// Expectations that some rows did not meet. Those that led to quarantine are told there.
fn expectations(report: &RunReport, palette: Palette) -> Option<String> {
    let mut lines = vec![];
    for table in &report.tables {
        let told = |name: &str| table.quarantine_reasons.keys().any(|reason| reason.contains(&format!("`{name}`")));
        for (name, expectation) in table.expectations.iter().filter(|(name, e)| e.failed > 0 && !told(name)) {
            let rows = expectation.passed.saturating_add(expectation.failed);
            let (failed, share) = (count(expectation.failed), percent(expectation.failed, rows));
            lines.push(format!("  {}: `{name}` failed for {failed} of {} ({share})", table.table, counted(rows, "row", "rows")));
        }
    }
    let title = palette.paint(Tone::Caution, "expectations that did not hold:");
    (!lines.is_empty()).then(|| format!("{title}\n{}", lines.join("\n")))
}

/// Which tables failed and why, and which were not tried for that.
fn failures(report: &RunReport, palette: Palette) -> Option<String> {
    let mut parts = vec![];
    for table in report.tables.iter().filter(|t| t.status == TableStatus::Failed) {
        let message = table.error.as_ref().map_or("it failed without saying why", |e| e.message.as_str());
        let mut text = format!("{} {}: {message}", palette.paint(Tone::Bad, "error:"), table.table);
        if let Some(hint) = table.error.as_ref().and_then(|e| e.hint.as_ref()) {
            text += &format!("\n{} {hint}", palette.paint(Tone::Strong, "help:"));
        }
        parts.push(text);
    }
    for (sink, error) in report.sinks.iter().filter_map(|s| Some((s, s.error.as_ref()?))) {
        let mut text = format!("{} {} is behind: {}", palette.paint(Tone::Bad, "error:"), sink.sink, error.message);
        let hint = error.hint.as_deref().unwrap_or("the tables are done; the next run brings the sink up to date");
        text += &format!("\n{} {hint}", palette.paint(Tone::Strong, "help:"));
        parts.push(text);
    }
    let skipped: Vec<&str> =
        report.tables.iter().filter(|t| t.status == TableStatus::Skipped).map(|t| t.table.as_str()).collect();
    if !skipped.is_empty() {
        parts.push(format!("{} {}", palette.paint(Tone::Caution, "skipped:"), skipped.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join("\n"))
}

/// The last line: how the run ended, in numbers.
fn verdict(report: &RunReport, palette: Palette) -> String {
    let of = |status| report.tables.iter().filter(|t| t.status == status).count() as u64;
    let (word, tone) = match report.status {
        RunStatus::Succeeded => ("succeeded", Tone::Good),
        RunStatus::Failed => ("failed", Tone::Bad),
        RunStatus::Interrupted => ("interrupted", Tone::Caution),
    };
    let numbers = [
        (of(TableStatus::Written), "written"),
        (of(TableStatus::Unchanged), "unchanged"),
        (of(TableStatus::Failed), "failed"),
        (of(TableStatus::Skipped), "skipped"),
    ];
    let numbers: Vec<String> = numbers.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
    let mut text = format!("{} {} in {}", report.pipeline, palette.paint(tone, word), seconds(report.seconds));
    if !numbers.is_empty() {
        let tables = counted(report.tables.len() as u64, "table", "tables");
        text += &format!("; {tables}: {}", numbers.join(", "));
    }
    if let Some(peak) = report.peak_memory_bytes {
        text += &format!("; peak memory {}", bytes(peak));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, Utc};
    use lake::report::{ErrorReport, ExpectationReport, RUN_SCHEMA};
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn run(status: RunStatus, tables: Vec<TableReport>) -> RunReport {
        RunReport {
            schema: RUN_SCHEMA.into(),
            run_id: "0198c0de-0000-7000-8000-000000000000".into(),
            pipeline: "brand_monitoring".into(),
            status,
            started_at: DateTime::<Utc>::UNIX_EPOCH,
            seconds: 3.2,
            peak_memory_bytes: Some(181 << 20),
            workspaces: vec!["acme".into(), "globex".into()],
            tables,
            sinks: vec![],
        }
    }

    fn written(table: &str, strategy: Strategy, rows: u64) -> TableReport {
        TableReport {
            status: TableStatus::Written,
            strategy: Some(strategy),
            rows_read: rows,
            rows_written: rows,
            files_written: 2,
            bytes_written: rows * 61,
            version_to: Some(0),
            seconds: 0.42,
            ..TableReport::new(table)
        }
    }

    fn posts() -> TableReport {
        let expectation = |failed| ExpectationReport { passed: 11_000, failed };
        TableReport {
            rows_written: 11_204,
            rows_dropped: 700,
            rows_quarantined: 41,
            rows_superseded: 380,
            rows_deleted: 20,
            quarantine_reasons: BTreeMap::from([
                ("`body_present` does not hold".into(), 12),
                ("`likes` is not a long".into(), 20),
                ("`author` is missing".into(), 5),
                ("`url` is missing".into(), 2),
                ("`lang` is missing".into(), 1),
                ("`brand` is missing".into(), 1),
            ]),
            expectations: BTreeMap::from([
                ("body_present".into(), expectation(12)),
                ("short_enough".into(), expectation(3)),
                ("id_shape".into(), expectation(0)),
            ]),
            ..written("silver.posts", Strategy::Merge, 12_345)
        }
    }

    fn first_run() -> RunReport {
        let tables = vec![
            written("bronze.posts", Strategy::Append, 12_345),
            posts(),
            written("gold.daily_mentions", Strategy::Replace, 310),
        ];
        run(RunStatus::Succeeded, tables)
    }

    fn failed_run() -> RunReport {
        let error = ErrorReport {
            message: "expectation `id_shape` does not hold for 4 rows".into(),
            hint: Some("look at `bronze.posts`, or let it quarantine".into()),
        };
        let failed =
            TableReport { status: TableStatus::Failed, seconds: 0.2, error: Some(error), ..TableReport::new("silver.posts") };
        let skipped = TableReport { status: TableStatus::Skipped, ..TableReport::new("gold.daily_mentions") };
        run(RunStatus::Failed, vec![written("bronze.posts", Strategy::Append, 12_345), failed, skipped])
    }

    fn at(width: usize) -> Surface {
        Surface { width: Some(width), ..Surface::default() }
    }

    #[test]
    fn a_first_run_is_one_table_and_what_wants_a_look() {
        insta::assert_snapshot!(summary(&first_run(), Surface::default()), @r#"
        table                status   strategy    read  written  dropped  quarantined  superseded  deleted  files       size    time
        ───────────────────  ───────  ────────  ──────  ───────  ───────  ───────────  ──────────  ───────  ─────  ─────────  ──────
        bronze.posts         written  append    12,345   12,345        0            0           0        0      2  735.4 KiB  0.42 s
        silver.posts         written  merge     12,345   11,204      700           41         380       20      2  735.4 KiB  0.42 s
        gold.daily_mentions  written  replace      310      310        0            0           0        0      2   18.5 KiB  0.42 s

        quarantined, kept in `<table>_quarantine` with reason and origin:
          silver.posts: 20 rows: `likes` is not a long
          silver.posts: 12 rows: `body_present` does not hold
          silver.posts: 5 rows: `author` is missing
          silver.posts: 2 rows: `url` is missing
          silver.posts: 2 rows: 2 other reasons, see the report

        expectations that did not hold:
          silver.posts: `short_enough` failed for 3 of 11,003 rows (<0.1 %)

        brand_monitoring succeeded in 3.20 s; 3 tables: 3 written; peak memory 181.0 MiB
        "#);
        assert!(is_first(&first_run()) && posts().adds_up());
    }

    #[test]
    fn on_a_narrow_terminal_the_counts_of_rows_stay() {
        let text = summary(&first_run(), at(80));
        insta::assert_snapshot!(text, @r#"
        table                status     read  written  dropped  quarantined    time
        ───────────────────  ───────  ──────  ───────  ───────  ───────────  ──────
        bronze.posts         written  12,345   12,345        0            0  0.42 s
        silver.posts         written  12,345   11,204      700           41  0.42 s
        gold.daily_mentions  written     310      310        0            0  0.42 s
        also silver.posts: 380 superseded, 20 deleted

        quarantined, kept in `<table>_quarantine` with reason and origin:
          silver.posts: 20 rows: `likes` is not a long
          silver.posts: 12 rows: `body_present` does not hold
          silver.posts: 5 rows: `author` is missing
          silver.posts: 2 rows: `url` is missing
          silver.posts: 2 rows: 2 other reasons, see the report

        expectations that did not hold:
          silver.posts: `short_enough` failed for 3 of 11,003 rows (<0.1 %)

        brand_monitoring succeeded in 3.20 s; 3 tables: 3 written; peak memory 181.0 MiB
        "#);
        assert!(text.lines().all(|l| l.width() <= 80));
    }

    #[test]
    fn a_failed_run_says_what_why_and_what_was_skipped() {
        insta::assert_snapshot!(summary(&failed_run(), at(140)), @r#"
        table                status   strategy    read  written  dropped  quarantined  superseded  deleted  files       size    time
        ───────────────────  ───────  ────────  ──────  ───────  ───────  ───────────  ──────────  ───────  ─────  ─────────  ──────
        bronze.posts         written  append    12,345   12,345        0            0           0        0      2  735.4 KiB  0.42 s
        silver.posts         failed   -              -        -        -            -           -        -      -          -  0.20 s
        gold.daily_mentions  skipped  -              -        -        -            -           -        -      -          -       -

        error: silver.posts: expectation `id_shape` does not hold for 4 rows
        help: look at `bronze.posts`, or let it quarantine
        skipped: gold.daily_mentions

        brand_monitoring failed in 3.20 s; 3 tables: 1 written, 1 failed, 1 skipped; peak memory 181.0 MiB
        "#);
    }

    #[test]
    fn a_second_run_says_that_nothing_changed() {
        let unchanged = |table: &str| TableReport { version_from: Some(0), version_to: Some(0), ..TableReport::new(table) };
        let report = run(RunStatus::Succeeded, vec![unchanged("bronze.posts"), unchanged("silver.posts")]);
        assert_eq!(summary(&report, at(80)), "nothing to do: all 2 tables are up to date");
        assert!(!is_first(&report));
        let one = run(RunStatus::Succeeded, vec![unchanged("bronze.posts")]);
        assert_eq!(summary(&one, at(80)), "nothing to do: 1 table is up to date");
    }

    #[test]
    fn an_interrupted_run_is_never_told_as_nothing_to_do() {
        let report = run(RunStatus::Interrupted, vec![TableReport::new("bronze.posts")]);
        assert!(!is_unchanged(&report));
        assert!(summary(&report, at(80)).contains("brand_monitoring interrupted in 3.20 s; 1 table: 1 unchanged"));
    }

    #[test]
    fn what_the_colours_say_the_words_say_too() {
        let colored = Surface { palette: Palette::new(true), ..Surface::default() };
        let text = summary(&failed_run(), colored);
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            plain += before;
            rest = after.split_once('m').unwrap().1;
        }
        plain += rest;
        assert_eq!(plain, summary(&failed_run(), Surface::default()));
        assert!(text.contains('\u{1b}'));
    }
}
