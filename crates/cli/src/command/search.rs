//! `lake search`: the rows of a workspace whose texts are nearest to a text.

use lake::vectors::Search;
use serde_json::json;

use super::Session;
use crate::arguments::SearchArguments;
use crate::backend;
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, Layout};
use crate::quantity::counted;

/// Characters of a text that a table shows.
const SHOWN: usize = 200;

/// Searches and prints what was found, the nearest first.
pub(crate) async fn run(arguments: &SearchArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    let lake = session.settings.lake()?;
    let sinks = backend::sinks(&session.settings)?;
    let workspace = lake.workspace(session.settings.query_workspace()?.as_str())?;
    let search = Search {
        table: &arguments.table,
        text: &arguments.text,
        condition: arguments.condition.as_deref(),
        limit: arguments.limit,
    };
    let found = workspace.search(&search, sinks.embedder.as_ref(), sinks.vectors.as_deref()).await?;
    if !printer.is_human() {
        let hits = found.hits.iter().map(|hit| json!({ "id": hit.id, "score": hit.score, "payload": hit.payload }));
        let document = json!({
            "schema": "lake.search.v1",
            "workspace": workspace.id().as_str(),
            "table": found.table.to_string(),
            "source": found.source.to_string(),
            "source_version": found.source_version,
            "embedder": found.embedder,
            "hits": hits.collect::<Vec<_>>(),
        });
        return ExitStatus::Done.once_written(printer.json(&document));
    }
    let rows: Vec<Vec<Cell>> = found
        .hits
        .iter()
        .map(|hit| {
            let text = |name: &str| match hit.payload.get(name) {
                Some(serde_json::Value::String(text)) => text.chars().take(SHOWN).collect(),
                Some(value) => value.to_string(),
                None => String::new(),
            };
            let others = hit.payload.iter().filter(|(name, _)| !["text", "row_key", "chunk"].contains(&name.as_str()));
            let others: Vec<String> = others.map(|(name, _)| format!("{name}: {}", text(name))).collect();
            vec![
                Cell::from(format!("{:.3}", hit.score)),
                Cell::from(text("row_key")),
                Cell::from(text("text")),
                Cell::from(others.join(", ")),
            ]
        })
        .collect();
    let columns =
        vec![Column::number("score"), Column::text("row"), Column::text("text").wrapping(), Column::text("payload").wrapping()];
    let layout = Layout::fit(columns, &rows, printer.out.width, printer.out.palette);
    let mut text = layout.header();
    text.extend(rows.iter().map(|row| layout.row(row).0));
    let written = printer.result(text.trim_end());
    let version = found.source_version.map_or_else(|| "an unknown version".to_owned(), |v| format!("version {v}"));
    printer.say(&format!("{} of `{}`, {version}", counted(found.hits.len() as u64, "row", "rows"), found.source));
    if found.embedder.starts_with("offline") {
        printer.hint(lake::embed::NOTICE);
    }
    ExitStatus::Done.once_written(written)
}
