//! `lake status`: the tables of the lake.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use lake::Lake;
use lake::pipeline::TableName;
use lake::table::{At, DataFile, Scope};
use serde::Serialize;

use super::Session;
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, grid};
use crate::printer::Surface;
use crate::quantity::{ago, bytes, count};
use crate::style::Tone;

/// How many tables are opened at a time.
const CONCURRENT_TABLES: usize = 8;

/// The most workspaces that are named rather than counted.
const NAMED_WORKSPACES: usize = 3;

/// One table as it is now. `null` is unknown.
#[derive(Debug, Serialize)]
struct TableState {
    table: String,
    version: i64,
    rows: Option<u64>,
    files: u64,
    bytes: u64,
    workspaces: Vec<String>,
    last_commit: Option<DateTime<Utc>>,
    operation: Option<String>,
}

/// Prints the tables of the lake, or what a workspace has of them.
pub(crate) async fn run(session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let scope = session.settings.workspace.clone().map_or(Scope::Feed, Scope::Workspace);
    let tables = states(&lake, &scope).await?;
    if !printer.is_human() {
        return ExitStatus::Done.once_written(printer.json(&tables));
    }
    if tables.is_empty() {
        printer.say(&format!("there are no tables in {}", session.settings.lake_uri));
        printer.hint("`lake run <pipeline.yaml>` makes them");
        return Ok(ExitStatus::Done);
    }
    let done = ExitStatus::Done.once_written(printer.result(&text(&tables, &scope, printer.out, Utc::now())));
    if let Scope::Workspace(workspace) = &scope
        && tables.iter().all(|t| t.files == 0)
    {
        printer.hint(&format!("workspace `{workspace}` has no rows in any table"));
    }
    done
}

async fn states(lake: &Lake, scope: &Scope) -> lake::Result<Vec<TableState>> {
    let names = lake.tables().await?;
    let states = futures::stream::iter(names).map(|name| state(lake, name, scope)).buffered(CONCURRENT_TABLES);
    states.try_filter_map(|state| async { Ok(state) }).try_collect().await
}

async fn state(lake: &Lake, name: TableName, scope: &Scope) -> lake::Result<Option<TableState>> {
    let snapshot = match lake.snapshot(&name, At::Latest).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) => return Ok(None),
        Err(error) => {
            // One table that cannot be read must not hide the others.
            tracing::warn!("{error}");
            return Ok(None);
        }
    };
    let mut files = snapshot.files(scope)?;
    if matches!(scope, Scope::Feed) {
        files.extend(snapshot.unassigned_files()?);
    }
    let last = snapshot.history(1).await?.into_iter().next();
    let workspaces: BTreeSet<String> = files.iter().filter_map(|f| f.workspace.clone()).collect();
    Ok(Some(TableState {
        table: name.to_string(),
        version: snapshot.version(),
        rows: rows(&files),
        files: files.len() as u64,
        bytes: files.iter().map(|f| f.size).sum(),
        workspaces: workspaces.into_iter().collect(),
        last_commit: last.as_ref().and_then(|l| l.timestamp),
        operation: last.and_then(|l| l.operation),
    }))
}

/// The number of rows, where the log tells it of every file.
fn rows(files: &[DataFile]) -> Option<u64> {
    files.iter().map(|f| f.rows).sum()
}

fn text(tables: &[TableState], scope: &Scope, surface: Surface, now: DateTime<Utc>) -> String {
    let all = matches!(scope, Scope::Feed);
    let mut columns = vec![
        Column::text("table"),
        Column::number("version"),
        Column::number("rows"),
        Column::number("files").dispensable(2),
        Column::number("size"),
    ];
    if all {
        columns.push(Column::text("workspaces").shrinking());
    }
    columns.push(Column::text("last commit").dispensable(1));
    let rows: Vec<Vec<Cell>> = tables.iter().map(|table| row(table, all, now)).collect();
    grid(columns, &rows, surface.width, surface.palette)
}

fn row(table: &TableState, all: bool, now: DateTime<Utc>) -> Vec<Cell> {
    let mut cells = vec![
        Cell::new(&table.table, Tone::Plain),
        Cell::from(table.version.to_string()),
        Cell::from(table.rows.map_or_else(|| "?".to_owned(), count)),
        Cell::from(count(table.files)),
        Cell::from(bytes(table.bytes)),
    ];
    if all {
        let number = table.workspaces.len();
        cells.push(Cell::from(match number {
            0 => "-".to_owned(),
            1..=NAMED_WORKSPACES => table.workspaces.join(", "),
            _ => format!("{number} workspaces"),
        }));
    }
    cells.push(Cell::from(table.last_commit.map_or_else(|| "?".to_owned(), |time| ago(time, now))));
    cells
}

#[cfg(test)]
mod tests {
    use lake::WorkspaceId;

    use super::*;

    fn state(table: &str, rows: Option<u64>, workspaces: &[&str]) -> TableState {
        TableState {
            table: table.into(),
            version: 3,
            rows,
            files: 4,
            bytes: 1 << 20,
            workspaces: workspaces.iter().map(|w| w.to_string()).collect(),
            last_commit: Some(now() - chrono::TimeDelta::minutes(3)),
            operation: Some("WRITE".into()),
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn tables() -> Vec<TableState> {
        vec![
            state("bronze.posts", Some(12_345), &["acme", "globex"]),
            state("gold.daily_mentions", None, &["a", "b", "c", "d"]),
            TableState { files: 0, bytes: 0, ..state("silver.posts_quarantine", Some(0), &[]) },
        ]
    }

    #[test]
    fn all_tables_are_listed_with_their_workspaces() {
        insta::assert_snapshot!(text(&tables(), &Scope::Feed, Surface { width: Some(80), ..Surface::default() }, now()), @r#"
        table                    version    rows     size  workspaces    last commit
        ───────────────────────  ───────  ──────  ───────  ────────────  ───────────
        bronze.posts                   3  12,345  1.0 MiB  acme, globex  3 min ago
        gold.daily_mentions            3       ?  1.0 MiB  4 workspaces  3 min ago
        silver.posts_quarantine        3       0      0 B  -             3 min ago
        "#);
    }

    #[test]
    fn one_workspace_does_not_see_the_others() {
        let scope = Scope::Workspace(WorkspaceId::new("acme").unwrap());
        insta::assert_snapshot!(text(&tables(), &scope, Surface { width: Some(50), ..Surface::default() }, now()), @r#"
        table                    version    rows     size
        ───────────────────────  ───────  ──────  ───────
        bronze.posts                   3  12,345  1.0 MiB
        gold.daily_mentions            3       ?  1.0 MiB
        silver.posts_quarantine        3       0      0 B
        "#);
    }

    #[test]
    fn rows_are_unknown_when_the_log_does_not_tell_them_all() {
        let file = |rows| DataFile { path: "a".into(), size: 1, rows, workspace: None, stats: None, deleted: None };
        assert_eq!(rows(&[file(Some(2)), file(Some(3))]), Some(5));
        assert_eq!(rows(&[file(Some(2)), file(None)]), None);
        assert_eq!(rows(&[]), Some(0));
    }
}
