//! `lake query`: SQL over the tables of one workspace.

use std::io::Read;
use std::time::Instant;

use futures::StreamExt;
use lake::table::{At, Scope};
use lake::{Error, ErrorKind, Lake, WorkspaceId, query_error};

use super::Session;
use crate::arguments::QueryArguments;
use crate::exit::{ExitStatus, Failure};
use crate::quantity::{counted, seconds};
use crate::rows::{LeftOut, RowWriter};

/// The argument that stands for stdin.
const STDIN: &str = "-";

/// Runs the query and writes its rows as they come.
pub(crate) async fn run(arguments: &QueryArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let sql = sql(&arguments.sql).await?;
    let at = arguments.at.as_deref().map(str::parse::<At>).transpose()?.unwrap_or_default();
    let lake = session.settings.lake()?;
    let id = session.settings.query_workspace()?;
    let clock = Instant::now();
    let mut frame = lake.workspace(id.as_str())?.at(at).query(&sql).await?;
    if let Some(limit) = arguments.limit {
        frame = frame.limit(0, Some(limit)).map_err(failed)?;
    }
    let mut batches = frame.execute_stream().await.map_err(failed)?;
    let mut writer = RowWriter::new(printer, batches.schema());
    while let Some(batch) = batches.next().await {
        writer.write(&batch.map_err(failed)?)?;
    }
    let (rows, left_out) = writer.finish()?;
    if printer.is_human() {
        printer.say(&format!("{} in {}", counted(rows, "row", "rows"), seconds(clock.elapsed().as_secs_f64())));
    }
    if let Some(text) = told(left_out) {
        printer.hint(&text);
    }
    if (rows == 0 || session.settings.workspace.is_none()) && !printer.is_quiet() && only_others_have_rows(&lake, &id).await? {
        printer.hint(&format!(
            "workspace `{id}` has no rows in any table, but others have: name one with `--workspace` or `WORKSPACE_ID`"
        ));
    }
    Ok(ExitStatus::Done)
}

fn failed(error: datafusion::common::DataFusionError) -> Error {
    query_error("the query failed", error)
}

/// The query: the argument itself, or what stdin holds.
async fn sql(argument: &str) -> lake::Result<String> {
    if argument != STDIN {
        return Ok(argument.to_owned());
    }
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    });
    match read.await {
        Ok(Ok(text)) if !text.trim().is_empty() => Ok(text),
        Ok(Ok(_)) => Err(Error::new(ErrorKind::Config, "there is no query on stdin")),
        _ => Err(Error::new(ErrorKind::Config, "cannot read the query from stdin")
            .with_hint("pipe it in, such as `lake query - < query.sql`")),
    }
}

fn told(left_out: LeftOut) -> Option<String> {
    let mut parts = vec![];
    if left_out.cells > 0 {
        parts.push(format!("{} cut", counted(left_out.cells as u64, "value is", "values are")));
    }
    if left_out.columns > 0 {
        parts.push(format!("{} left out", counted(left_out.columns as u64, "column is", "columns are")));
    }
    let parts = parts.join(" and ");
    (!parts.is_empty()).then(|| format!("{parts} to fit; `--output json` or `csv` shows all"))
}

/// Whether `workspace` has no file in any table while some other has. It stops at the first file of the workspace.
async fn only_others_have_rows(lake: &Lake, workspace: &WorkspaceId) -> lake::Result<bool> {
    let own = Scope::Workspace(workspace.clone());
    let mut others = false;
    for name in lake.tables().await? {
        let Some(snapshot) = lake.snapshot(&name, At::Latest).await? else { continue };
        if !snapshot.files(&own)?.is_empty() {
            return Ok(false);
        }
        others |= !snapshot.files(&Scope::Feed)?.is_empty();
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_told_with_a_way_to_see_it() {
        assert_eq!(told(LeftOut::default()), None);
        assert_eq!(
            told(LeftOut { cells: 1, columns: 2 }).unwrap(),
            "1 value is cut and 2 columns are left out to fit; `--output json` or `csv` shows all"
        );
    }
}
