//! `lake restore`: a table as it was, for those who look after the lake.

use lake::table::{At, RestoreReport};
use lake::{Error, ErrorKind};

use super::Session;
use super::maintain::known_table;
use crate::arguments::RestoreArguments;
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, grid};
use crate::printer::Surface;
use crate::quantity::count;

/// Puts a table back, with those beside it, or says what that would do.
pub(crate) async fn run(arguments: &RestoreArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let to = target(arguments)?;
    let lake = session.settings.lake()?;
    let name = known_table(arguments.table.parse()?, &lake.tables().await?)?;
    let reports = lake.restore(&name, to, arguments.dry_run).await?;
    if !printer.is_human() {
        return ExitStatus::Done.once_written(printer.json(&reports));
    }
    let written = printer.result(&restored(&reports, printer.out));
    printer.say(&said(&reports));
    ExitStatus::Done.once_written(written)
}

fn target(arguments: &RestoreArguments) -> lake::Result<At> {
    let time = match (arguments.to_version, &arguments.to_time) {
        (Some(version), _) => return Ok(At::Version(version)),
        (None, Some(time)) => time,
        (None, None) => return Err(Error::new(ErrorKind::Config, "a restore needs `--to-version` or `--to-time`")),
    };
    match time.parse()? {
        At::Time(time) => Ok(At::Time(time)),
        _ => Err(Error::new(ErrorKind::Config, format!("`{time}` is no time"))
            .with_hint(format!("write a time such as `2026-01-31T12:00:00Z`, or `--to-version {time}`"))),
    }
}

fn restored(reports: &[RestoreReport], surface: Surface) -> String {
    let columns = vec![
        Column::text("table"),
        Column::number("as of version"),
        Column::number("files back"),
        Column::number("files gone"),
        Column::number("now at"),
    ];
    let row = |r: &RestoreReport| {
        let numbers = [r.restored.to_string(), count(r.files_restored), count(r.files_removed), r.version_to.to_string()];
        [Cell::from(&r.table)].into_iter().chain(numbers.map(Cell::from)).collect()
    };
    let rows: Vec<Vec<Cell>> = reports.iter().map(row).collect();
    grid(columns, &rows, surface.width, surface.palette)
}

fn said(reports: &[RestoreReport]) -> String {
    let dry_run = reports.iter().any(|r| r.dry_run);
    let changed = reports.iter().any(|r| r.files_restored + r.files_removed + r.progress_restored > 0);
    match (dry_run, changed) {
        (_, false) => "nothing to do: the table is as it was then".to_owned(),
        (true, true) => "nothing was changed; without `--dry-run` this is done".to_owned(),
        (false, true) => "the next run takes in again what came since".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(to_version: Option<i64>, to_time: Option<&str>) -> RestoreArguments {
        RestoreArguments { table: "silver.posts".into(), to_version, to_time: to_time.map(Into::into), dry_run: false }
    }

    #[test]
    fn a_time_is_no_version() {
        assert_eq!(target(&arguments(Some(3), None)).unwrap(), At::Version(3));
        assert!(matches!(target(&arguments(None, Some("2026-01-31"))).unwrap(), At::Time(_)));
        let error = target(&arguments(None, Some("3"))).unwrap_err();
        assert!(error.hint().unwrap().contains("--to-version 3"));
    }

    #[test]
    fn what_was_done_is_said() {
        let report = RestoreReport {
            table: "silver.posts".into(),
            dry_run: false,
            restored: 3,
            version_from: 8,
            version_to: 9,
            files_restored: 1_200,
            files_removed: 4,
            progress_restored: 2,
        };
        insta::assert_snapshot!(restored(std::slice::from_ref(&report), Surface::default()), @r#"
        table         as of version  files back  files gone  now at
        ────────────  ─────────────  ──────────  ──────────  ──────
        silver.posts              3       1,200           4       9
        "#);
        assert_eq!(said(std::slice::from_ref(&report)), "the next run takes in again what came since");
        assert!(said(&[RestoreReport { dry_run: true, ..report.clone() }]).starts_with("nothing was changed"));
        let same = RestoreReport { files_restored: 0, files_removed: 0, progress_restored: 0, ..report };
        assert!(said(&[same]).starts_with("nothing to do"));
    }
}
