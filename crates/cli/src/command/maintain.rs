//! `lake optimize` and `lake vacuum`: the upkeep of tables. A table that fails does not keep the others from theirs.

use std::future::Future;

use lake::diagnostic::nearest;
use lake::pipeline::TableName;
use lake::table::{OptimizeReport, VacuumOptions, VacuumReport};
use lake::{Error, ErrorKind, Lake};

use super::Session;
use crate::arguments::{OptimizeArguments, VacuumArguments};
use crate::exit::{ExitStatus, Failure, report_error};
use crate::grid::{Cell, Column, grid};
use crate::printer::{Printer, Surface};
use crate::quantity::{bytes, count, counted};

/// Merges small files, or sorts rows.
pub(crate) async fn optimize(arguments: &OptimizeArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let names = names(&lake, &arguments.tables.tables).await?;
    let (lake, z_order) = (&lake, &arguments.z_order);
    let (reports, status) = each(&names, printer, |name| lake.optimize(name, z_order)).await?;
    if !printer.is_human() {
        return status.once_written(printer.json(&reports));
    }
    status.once_written(printer.result(&optimized(&reports, printer.out)))
}

/// Deletes files that are no longer needed, or lists them.
pub(crate) async fn vacuum(arguments: &VacuumArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let names = names(&lake, &arguments.tables.tables).await?;
    let dry_run = arguments.dry_run;
    let options =
        VacuumOptions { retention_hours: arguments.retention_hours, allow_short: arguments.allow_short_retention, dry_run };
    let (lake, options) = (&lake, &options);
    let (reports, status) = each(&names, printer, |name| lake.vacuum(name, options)).await?;
    if !printer.is_human() {
        return status.once_written(printer.json(&reports));
    }
    let written = printer.result(&vacuumed(&reports, dry_run, printer.out));
    printer.say(&said(&reports, dry_run));
    status.once_written(written)
}

/// The tables that were named, which must exist, or all.
async fn names(lake: &Lake, named: &[String]) -> lake::Result<Vec<TableName>> {
    let known = lake.tables().await?;
    if named.is_empty() {
        return Ok(known);
    }
    named.iter().map(|name| known_table(name.parse()?, &known)).collect()
}

pub(super) fn known_table(name: TableName, known: &[TableName]) -> lake::Result<TableName> {
    if known.contains(&name) {
        return Ok(name);
    }
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    let hint = match nearest(&name.to_string(), known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`lake status` lists the tables".to_owned(),
    };
    Err(Error::new(ErrorKind::NotFound, format!("there is no table `{name}`")).with_hint(hint))
}

/// Does `work` for each table. Errors are said as they come; only one in the arguments ends it, as it would meet every table.
async fn each<'a, R, F: Future<Output = lake::Result<Option<R>>>>(
    names: &'a [TableName],
    printer: &Printer,
    work: impl Fn(&'a TableName) -> F,
) -> Result<(Vec<R>, ExitStatus), Failure> {
    let mut reports = vec![];
    let mut status = ExitStatus::Done;
    for name in names {
        match work(name).await {
            Ok(report) => reports.extend(report),
            Err(error) if error.kind() == ErrorKind::Config => return Err(error.into()),
            Err(error) => {
                report_error(&error, printer);
                status = ExitStatus::Failed;
            }
        }
    }
    Ok((reports, status))
}

fn optimized(reports: &[OptimizeReport], surface: Surface) -> String {
    let columns =
        vec![Column::text("table"), Column::number("files before"), Column::number("files after"), Column::number("version")];
    let rows: Vec<Vec<Cell>> = reports.iter().map(optimized_row).collect();
    let rewritten: u64 = reports.iter().map(|r| r.files_removed).sum();
    match rewritten {
        0 => "nothing to do: no table has files worth rewriting".to_owned(),
        _ => grid(columns, &rows, surface.width, surface.palette),
    }
}

fn optimized_row(report: &OptimizeReport) -> Vec<Cell> {
    let numbers = [count(report.files_removed), count(report.files_added), report.version.to_string()];
    [Cell::from(&report.table)].into_iter().chain(numbers.map(Cell::from)).collect()
}

/// How much went, or would go.
fn said(reports: &[VacuumReport], dry_run: bool) -> String {
    let sum = |of: fn(&VacuumReport) -> u64| reports.iter().map(of).sum::<u64>();
    let mut parts = vec![format!("{} ({})", counted(sum(|r| r.files.len() as u64), "file", "files"), bytes(sum(|r| r.bytes)))];
    for (number, one, many) in [
        (sum(|r| r.uploads.unwrap_or_default()), "unfinished upload", "unfinished uploads"),
        (sum(|r| r.log_files.unwrap_or_default()), "file of the log", "files of the log"),
    ] {
        if number > 0 {
            parts.push(counted(number, one, many));
        }
    }
    format!("{} {}", parts.join(", "), if dry_run { "would be deleted; nothing was" } else { "deleted" })
}

/// The files that would go, one a line, or how many went of each table.
fn vacuumed(reports: &[VacuumReport], dry_run: bool, surface: Surface) -> String {
    if dry_run {
        let path = |report: &VacuumReport, file: &String| format!("{}/{file}\n", report.table.replace('.', "/"));
        return reports.iter().flat_map(|r| r.files.iter().map(move |f| path(r, f))).collect();
    }
    let columns = vec![Column::text("table"), Column::number("files deleted"), Column::number("size")];
    let row = |r: &VacuumReport| vec![Cell::from(&r.table), Cell::from(count(r.files.len() as u64)), Cell::from(bytes(r.bytes))];
    let rows: Vec<Vec<Cell>> = reports.iter().map(row).collect();
    grid(columns, &rows, surface.width, surface.palette)
}

#[cfg(test)]
mod tests {
    use lake::pipeline::Layer;

    use super::*;

    fn report(table: &str, files: &[&str]) -> VacuumReport {
        let files: Vec<String> = files.iter().map(|f| f.to_string()).collect();
        let bytes = 2_048 * files.len() as u64;
        VacuumReport { table: table.into(), dry_run: true, files, bytes, uploads: None, log_files: None }
    }

    #[test]
    fn a_dry_run_lists_paths_that_can_be_looked_at() {
        let reports = [report("silver.posts", &["workspace_id=a/x.parquet"]), report("gold.a", &[])];
        assert_eq!(vacuumed(&reports, true, Surface::default()), "silver/posts/workspace_id=a/x.parquet\n");
        insta::assert_snapshot!(vacuumed(&reports, false, Surface::default()), @r#"
        table         files deleted     size
        ────────────  ─────────────  ───────
        silver.posts              1  2.0 KiB
        gold.a                    0      0 B
        "#);
    }

    #[test]
    fn the_last_line_says_how_much_went() {
        let some = VacuumReport { uploads: Some(2), log_files: Some(1), ..report("silver.posts", &["a", "b"]) };
        assert_eq!(said(&[some], false), "2 files (4.0 KiB), 2 unfinished uploads, 1 file of the log deleted");
        assert_eq!(said(&[report("gold.a", &[])], true), "0 files (0 B) would be deleted; nothing was");
    }

    #[test]
    fn tables_without_small_files_are_left_alone() {
        let report =
            |files| OptimizeReport { table: "silver.posts".into(), files_added: files / 2, files_removed: files, version: 4 };
        assert_eq!(optimized(&[report(0)], Surface::default()), "nothing to do: no table has files worth rewriting");
        insta::assert_snapshot!(optimized(&[report(1_200)], Surface::default()), @r#"
        table         files before  files after  version
        ────────────  ────────────  ───────────  ───────
        silver.posts         1,200          600        4
        "#);
    }

    #[test]
    fn an_unknown_table_is_met_with_the_nearest() {
        let known = [TableName::new(Layer::Silver, "posts")];
        let error = known_table(TableName::new(Layer::Silver, "post"), &known).unwrap_err();
        assert_eq!((error.kind(), error.hint()), (ErrorKind::NotFound, Some("did you mean `silver.posts`?")));
        let error = known_table(TableName::new(Layer::Gold, "revenue"), &known).unwrap_err();
        assert_eq!(error.hint(), Some("`lake status` lists the tables"));
    }
}
