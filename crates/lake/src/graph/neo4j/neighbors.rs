//! What is near a node, step by step.

use std::collections::{BTreeMap, BTreeSet};

use neo4rs::{BoltType, Row};

use super::session::Statement;
use super::value::pairs;
use super::{Neo4j, bound};
use crate::error::Result;
use crate::graph::query::readable_properties;
use crate::graph::store::{Edge, EdgeKey, Graph, Node, NodeKey, Subgraph};
use crate::workspace_id::WorkspaceId;

/// A search in a workspace's graph.
pub(super) struct Search<'a> {
    store: &'a Neo4j,
    graph: &'a Graph,
    workspace: &'a WorkspaceId,
}

const WHAT: &str = "cannot look for neighbors";
/// Both the workspace and the graph, of a node or an edge.
const BOUND: &str = "{_graph: $graph, workspace_id: $workspace}";
const LABEL: &str = "[l IN labels(b) WHERE l IN $labels][0]";

impl<'a> Search<'a> {
    pub(super) fn new(store: &'a Neo4j, graph: &'a Graph, workspace: &'a WorkspaceId) -> Self {
        Self { store, graph, workspace }
    }

    pub(super) async fn run(&self, node: &NodeKey, depth: u32, limit: usize) -> Result<Subgraph> {
        let start = BTreeSet::from([node.clone()]);
        if limit == 0 || !self.graph.labels.contains(&node.label) || self.nodes(&start).await?.is_empty() {
            return Ok(Subgraph::default());
        }
        let (mut seen, mut reached) = (start.clone(), start);
        for _ in 0..depth {
            let left = limit - seen.len();
            if left == 0 || reached.is_empty() {
                break;
            }
            reached = self.step(&reached, left + seen.len()).await?.difference(&seen).take(left).cloned().collect();
            seen.extend(reached.iter().cloned());
        }
        Ok(Subgraph { edges: self.edges(&seen).await?, nodes: self.nodes(&seen).await? })
    }

    /// The first `limit` nodes that are one step from one of `nodes`.
    async fn step(&self, nodes: &BTreeSet<NodeKey>, limit: usize) -> Result<BTreeSet<NodeKey>> {
        let mut found = BTreeSet::new();
        for (label, ids) in by_label(nodes) {
            let text = format!(
                "UNWIND $ids AS id MATCH (a:`{label}` {{_graph: $graph, workspace_id: $workspace, id: id}})-[r {BOUND}]-(b {BOUND}) \
                 WITH DISTINCT b WITH b, {LABEL} AS label WHERE label IS NOT NULL \
                 RETURN label, b.id AS id ORDER BY label, b.id LIMIT $limit"
            );
            let statement = self.about(text, ids).with("limit", i64::try_from(limit).unwrap_or(i64::MAX));
            for row in self.store.read(WHAT, &statement).await? {
                found.insert(NodeKey { label: self.store.text(&row, "label")?, id: self.store.text(&row, "id")? });
            }
        }
        Ok(found)
    }

    async fn nodes(&self, keys: &BTreeSet<NodeKey>) -> Result<Vec<Node>> {
        let mut found = Vec::with_capacity(keys.len());
        for (label, ids) in by_label(keys) {
            let text = format!(
                "UNWIND $ids AS id MATCH (a:`{label}` {{_graph: $graph, workspace_id: $workspace, id: id}}) \
                 RETURN a.id AS id, a._hash AS hash, {} AS properties ORDER BY a.id",
                readable_properties("a")
            );
            for row in self.store.read(WHAT, &self.about(text, ids)).await? {
                let key = NodeKey { label: label.to_owned(), id: self.store.text(&row, "id")? };
                found.push(Node {
                    key,
                    properties: self.properties(&row)?.into_iter().filter(|(name, _)| name != "id").collect(),
                    hash: self.store.text(&row, "hash")?,
                });
            }
        }
        Ok(found)
    }

    /// The edges with both ends among `nodes`.
    async fn edges(&self, nodes: &BTreeSet<NodeKey>) -> Result<Vec<Edge>> {
        let mut found = Vec::new();
        let all = nodes.iter().map(|node| node.id.as_str().into()).collect::<Vec<BoltType>>();
        for (label, ids) in by_label(nodes) {
            let text = format!(
                "UNWIND $ids AS id MATCH (a:`{label}` {{_graph: $graph, workspace_id: $workspace, id: id}})-[r {BOUND}]->(b {BOUND}) \
                 WHERE b.id IN $all RETURN a.id AS start, {LABEL} AS label, b.id AS end, type(r) AS kind, r._hash AS hash, \
                 {} AS properties",
                readable_properties("r")
            );
            let statement = self.about(text, ids).with_list("all", all.clone());
            for row in self.store.read(WHAT, &statement).await? {
                let text = |column| self.store.text(&row, column);
                let Ok(to) = text("label") else { continue };
                let (from, to) =
                    (NodeKey { label: label.to_owned(), id: text("start")? }, NodeKey { label: to, id: text("end")? });
                if nodes.contains(&to) {
                    let key = EdgeKey { kind: text("kind")?, from, to };
                    found.push(Edge { key, properties: self.properties(&row)?, hash: text("hash")? });
                }
            }
        }
        found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    fn properties(&self, row: &Row) -> Result<serde_json::Map<String, serde_json::Value>> {
        Ok(pairs(Some(&self.store.column(row, "properties")?)))
    }

    fn about(&self, text: String, ids: Vec<BoltType>) -> Statement {
        let labels = self.graph.labels.iter().map(|label| label.as_str().into()).collect();
        bound(self.graph, self.workspace, text).with_list("ids", ids).with_list("labels", labels)
    }
}

/// The ids of each label, which is one of the graph's.
fn by_label(nodes: &BTreeSet<NodeKey>) -> BTreeMap<&str, Vec<BoltType>> {
    let mut ids: BTreeMap<&str, Vec<BoltType>> = BTreeMap::new();
    for node in nodes {
        ids.entry(&node.label).or_default().push(node.id.as_str().into());
    }
    ids
}
