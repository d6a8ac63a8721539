//! Storing and removing nodes and edges.

use std::collections::BTreeMap;

use neo4rs::{BoltMap, BoltType, Row};
use serde_json::{Map, Value};

use super::session::End;
use super::value::to_properties;
use super::{Neo4j, bound, checked_name};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::store::{Edge, EdgeKey, Graph, Node, NodeKey};
use crate::workspace_id::WorkspaceId;

/// What one statement carries at most.
const ROWS: usize = 1_000;
const BYTES: usize = 4 << 20;
/// What Neo4j can index, less what comes with it.
const ID_BYTES: usize = 7_000;
/// Edges of removed nodes that one transaction takes.
const EDGES: usize = 10_000;

impl Neo4j {
    pub(super) async fn store_nodes(&self, graph: &Graph, workspace: &WorkspaceId, nodes: &[Node]) -> Result<()> {
        for (label, nodes) in grouped(nodes, |node| node.key.label.as_str()) {
            let text = format!(
                "UNWIND $rows AS row MERGE (n:`{}` {{_graph: $graph, workspace_id: $workspace, id: row.id}}) \
                 SET n = row.properties RETURN count(n) AS stored",
                checked_name(label)?
            );
            for batch in batches(&nodes, |node| node.key.id.len() + size_of(&node.properties)) {
                let rows = batch.iter().map(|node| node_row(graph, workspace, node)).collect::<Result<_>>()?;
                let statement = bound(graph, workspace, text.clone()).with_list("rows", rows);
                self.write(&format!("cannot store nodes `{label}`"), &statement).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn store_edges(&self, graph: &Graph, workspace: &WorkspaceId, edges: &[Edge]) -> Result<()> {
        for ((kind, from, to), edges) in grouped(edges, |edge| ends(&edge.key)) {
            let kind = checked_name(kind)?;
            let text = format!(
                "UNWIND $rows AS row {} {} MERGE (a)-[r:`{kind}` {{_graph: $graph, workspace_id: $workspace}}]->(b) \
                 SET r = row.properties RETURN count(r) AS stored",
                matched("a", from, "from")?,
                matched("b", to, "to")?
            );
            for batch in batches(&edges, |edge| edge.key.from.id.len() + edge.key.to.id.len() + size_of(&edge.properties)) {
                let rows = batch.iter().map(|edge| edge_row(graph, workspace, edge)).collect();
                let statement = bound(graph, workspace, text.clone()).with_list("rows", rows);
                let all_stored = |rows: &[Row]| all_stored(rows, batch.len());
                self.sessions.run(&format!("cannot store edges `{kind}`"), &statement, End::Keep(&all_stored)).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn remove_edges(&self, graph: &Graph, workspace: &WorkspaceId, edges: &[EdgeKey]) -> Result<()> {
        for ((kind, from, to), edges) in grouped(edges, ends) {
            let kind = checked_name(kind)?;
            let text = format!(
                "UNWIND $rows AS row {} {} MATCH (a)-[r:`{kind}` {{_graph: $graph, workspace_id: $workspace}}]->(b) DELETE r",
                matched("a", from, "from")?,
                matched("b", to, "to")?
            );
            for batch in batches(&edges, |edge| edge.from.id.len() + edge.to.id.len()) {
                let rows =
                    batch.iter().map(|edge| map([("from", edge.from.id.as_str().into()), ("to", edge.to.id.as_str().into())]));
                let statement = bound(graph, workspace, text.clone()).with_list("rows", rows.collect());
                self.write(&format!("cannot remove edges `{kind}`"), &statement).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn remove_nodes(&self, graph: &Graph, workspace: &WorkspaceId, nodes: &[NodeKey]) -> Result<()> {
        for (label, nodes) in grouped(nodes, |node| node.label.as_str()) {
            let what = format!("cannot remove nodes `{label}`");
            let found = format!("UNWIND $rows AS row {}", matched("n", label, "id")?);
            let edges = format!("{found} MATCH (n)-[r]-() WITH DISTINCT r LIMIT {EDGES} DELETE r RETURN count(r) AS gone");
            for batch in batches(&nodes, |node| node.id.len()) {
                let rows: Vec<BoltType> = batch.iter().map(|node| map([("id", node.id.as_str().into())])).collect();
                let about = |text: &str| bound(graph, workspace, text.to_owned()).with_list("rows", rows.clone());
                // Edge by edge, so that no transaction has more than Neo4j's memory takes.
                while count(&self.write(&what, &about(&edges)).await?, "gone") == EDGES {}
                self.write(&what, &about(&format!("{found} DETACH DELETE n"))).await?;
            }
        }
        Ok(())
    }
}

/// Finds a node by the id in `field` of the row.
fn matched(variable: &str, label: &str, field: &str) -> Result<String> {
    let label = checked_name(label)?;
    Ok(format!("MATCH ({variable}:`{label}` {{_graph: $graph, workspace_id: $workspace, id: row.{field}}})"))
}

fn ends(edge: &EdgeKey) -> (&str, &str, &str) {
    (&edge.kind, &edge.from.label, &edge.to.label)
}

fn node_row(graph: &Graph, workspace: &WorkspaceId, node: &Node) -> Result<BoltType> {
    if node.key.id.len() > ID_BYTES {
        let message = format!("a node `{}` has an id of {} bytes", node.key.label, node.key.id.len());
        return Err(Error::new(ErrorKind::Data, message).with_hint(format!("Neo4j takes ids of up to {ID_BYTES} bytes")));
    }
    let mut properties = to_properties(&node.properties, |name| name == "id");
    reserve(&mut properties, graph, workspace, &node.hash);
    properties.put("id".into(), node.key.id.as_str().into());
    Ok(map([("id", node.key.id.as_str().into()), ("properties", BoltType::Map(properties))]))
}

fn edge_row(graph: &Graph, workspace: &WorkspaceId, edge: &Edge) -> BoltType {
    let mut properties = to_properties(&edge.properties, |_| false);
    reserve(&mut properties, graph, workspace, &edge.hash);
    let (from, to) = (edge.key.from.id.as_str(), edge.key.to.id.as_str());
    map([("from", from.into()), ("to", to.into()), ("properties", BoltType::Map(properties))])
}

fn reserve(properties: &mut BoltMap, graph: &Graph, workspace: &WorkspaceId, hash: &str) {
    properties.put("_graph".into(), graph.name.as_str().into());
    properties.put("workspace_id".into(), workspace.as_str().into());
    properties.put("_hash".into(), hash.into());
}

fn map<const N: usize>(fields: [(&str, BoltType); N]) -> BoltType {
    BoltType::Map(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn all_stored(rows: &[Row], sent: usize) -> Result<()> {
    let missing = sent.saturating_sub(count(rows, "stored"));
    if missing == 0 {
        return Ok(());
    }
    let message = format!("{missing} of {sent} edges have an end that is not in the graph");
    Err(Error::new(ErrorKind::Storage, message).with_hint("store the nodes first, with the labels that the edges name"))
}

fn count(rows: &[Row], column: &str) -> usize {
    let count: Option<i64> = rows.first().and_then(|row| row.get(column).ok());
    count.and_then(|count| usize::try_from(count).ok()).unwrap_or_default()
}

/// The items by what they have in common, in their order.
fn grouped<'a, T, K: Ord>(items: &'a [T], key: impl Fn(&'a T) -> K) -> BTreeMap<K, Vec<&'a T>> {
    let mut groups: BTreeMap<K, Vec<&T>> = BTreeMap::new();
    for item in items {
        groups.entry(key(item)).or_default().push(item);
    }
    groups
}

/// Runs of items that are not too many and not too large together.
fn batches<'a, T>(items: &'a [&'a T], size: impl Fn(&T) -> usize) -> Vec<&'a [&'a T]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, item) in items.iter().enumerate() {
        let size = size(item);
        if at > start && (at - start == ROWS || bytes + size > BYTES) {
            batches.push(&items[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    batches.push(&items[start..]);
    batches
}

/// About the bytes that properties take.
fn size_of(properties: &Map<String, Value>) -> usize {
    fn size(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len() + 5,
            Value::Array(items) => items.iter().map(size).sum::<usize>() + 5,
            Value::Object(fields) => size_of(fields) + 5,
            _ => 9,
        }
    }
    properties.iter().map(|(name, value)| name.len() + 5 + size(value)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_by_count_and_by_bytes() {
        let sizes = |items: &[usize]| -> Vec<usize> {
            let items: Vec<&usize> = items.iter().collect();
            batches(&items, |size| *size).iter().map(|batch| batch.len()).collect()
        };
        assert_eq!(sizes(&[1; 2_500]), [1_000, 1_000, 500]);
        assert_eq!(sizes(&[BYTES, BYTES * 2, 1, 1]), [1, 1, 2]);
        assert_eq!(sizes(&[1; 1_000]), [1_000]);
    }
}
