//! `lake graph`: the nodes around a node, and queries in a part of Cypher, of one workspace.

use std::collections::BTreeMap;

use lake::graph::{GraphView, NodeKey, Subgraph};
use lake::{Error, ErrorKind};
use serde_json::{Map, Value, json};

use super::Session;
use crate::arguments::{GraphArguments, GraphCommand};
use crate::backend;
use crate::exit::{ExitStatus, Failure};
use crate::grid::{Cell, Column, Layout};
use crate::quantity::counted;

/// Reads the graph and prints what was found.
pub(crate) async fn run(arguments: &GraphArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let lake = session.settings.lake()?;
    let sinks = backend::sinks(&session.settings)?;
    let store = sinks.graph.as_deref();
    let workspace = lake.workspace(session.settings.query_workspace()?.as_str())?;
    let view = workspace.graph(arguments.graph.as_deref()).await?;
    match &arguments.command {
        GraphCommand::Neighbors { node, depth, limit } => {
            let node = key(node)?;
            let found = view.neighbors(&node, *depth, *limit, store).await?;
            print_neighbors(&view, &node, &found.value, &found.versions, session)
        }
        GraphCommand::Query { query, limit } => {
            let found = view.query(query, *limit, store).await?;
            print_rows(&view, &found.value, &found.versions, session)
        }
    }
}

/// `Person:alice`.
fn key(text: &str) -> lake::Result<NodeKey> {
    match text.split_once(':') {
        Some((label, id)) if !label.is_empty() && !id.is_empty() => Ok(NodeKey { label: label.to_owned(), id: id.to_owned() }),
        _ => Err(Error::new(ErrorKind::Config, format!("`{text}` is not a node")).with_hint("write it as `Person:alice`")),
    }
}

fn print_neighbors(
    view: &GraphView,
    node: &NodeKey,
    found: &Subgraph,
    versions: &BTreeMap<String, i64>,
    session: &Session,
) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    if !printer.is_human() {
        let document = json!({
            "schema": "lake.neighbors.v1", "graph": view.graph().name, "versions": versions,
            "nodes": found.nodes, "edges": found.edges,
        });
        return ExitStatus::Done.once_written(printer.json(&document));
    }
    if found.nodes.is_empty() {
        printer.say(&format!("there is no node `{}:{}` in this workspace", node.label, node.id));
        return Ok(ExitStatus::Done);
    }
    let properties = |p: &Map<String, Value>| p.iter().map(|(k, v)| format!("{k}: {}", shown(v))).collect::<Vec<_>>().join(", ");
    let nodes: Vec<Vec<Cell>> = found
        .nodes
        .iter()
        .map(|n| vec![Cell::from(format!("{}:{}", n.key.label, n.key.id)), Cell::from(properties(&n.properties))])
        .collect();
    let edges: Vec<Vec<Cell>> = found
        .edges
        .iter()
        .map(|e| {
            let (from, to) = (&e.key.from, &e.key.to);
            vec![
                Cell::from(format!("{}:{}", from.label, from.id)),
                Cell::from(&e.key.kind),
                Cell::from(format!("{}:{}", to.label, to.id)),
                Cell::from(properties(&e.properties)),
            ]
        })
        .collect();
    let mut text = grid(vec![Column::text("node"), Column::text("properties").wrapping()], &nodes, session);
    if !edges.is_empty() {
        let columns = ["from", "type", "to"].into_iter().map(Column::text).chain([Column::text("properties").wrapping()]);
        text += "\n";
        text += &grid(columns.collect(), &edges, session);
    }
    let written = printer.result(text.trim_end());
    let (nodes, edges) = (counted(nodes.len() as u64, "node", "nodes"), counted(edges.len() as u64, "edge", "edges"));
    printer.say(&format!("{nodes} and {edges}{}", as_of(versions)));
    ExitStatus::Done.once_written(written)
}

fn print_rows(
    view: &GraphView,
    rows: &[Map<String, Value>],
    versions: &BTreeMap<String, i64>,
    session: &Session,
) -> Result<ExitStatus, Failure> {
    let printer = &session.printer;
    if !printer.is_human() {
        let document = json!({ "schema": "lake.graph_query.v1", "graph": view.graph().name, "versions": versions, "rows": rows });
        return ExitStatus::Done.once_written(printer.json(&document));
    }
    let names: Vec<&String> = rows.first().map(|row| row.keys().collect()).unwrap_or_default();
    let cells: Vec<Vec<Cell>> =
        rows.iter().map(|row| names.iter().map(|n| Cell::from(row.get(*n).map(shown).unwrap_or_default())).collect()).collect();
    let columns = names.iter().map(|n| Column::text(n.as_str()).wrapping()).collect();
    let written = match rows.is_empty() {
        true => Ok(()),
        false => printer.result(grid(columns, &cells, session).trim_end()),
    };
    printer.say(&format!("{}{}", counted(rows.len() as u64, "row", "rows"), as_of(versions)));
    ExitStatus::Done.once_written(written)
}

fn grid(columns: Vec<Column>, rows: &[Vec<Cell>], session: &Session) -> String {
    let surface = session.printer.out;
    let layout = Layout::fit(columns, rows, surface.width, surface.palette);
    let mut text = layout.header();
    text.extend(rows.iter().map(|row| layout.row(row).0));
    text
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(node) if node.contains_key("label") && node.contains_key("id") => {
            let part = |name: &str| node.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            format!("{}:{}", part("label"), part("id"))
        }
        other => other.to_string(),
    }
}

fn as_of(versions: &BTreeMap<String, i64>) -> String {
    let versions: Vec<String> = versions.iter().map(|(table, version)| format!("`{table}` version {version}")).collect();
    if versions.is_empty() { String::new() } else { format!(", true for {}", versions.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_a_label_and_an_id_which_may_hold_anything() {
        assert_eq!(key("Person:a:b c").unwrap(), NodeKey { label: "Person".into(), id: "a:b c".into() });
        for wrong in ["Person", ":a", "Person:", ""] {
            assert_eq!(key(wrong).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
