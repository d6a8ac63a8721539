//! Listing in the order of keys, a page after another.

use std::collections::{BTreeSet, VecDeque};

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use neo4rs::Row;

use super::{Neo4j, bound};
use crate::error::Result;
use crate::graph::store::{EdgeKey, Graph, NodeKey, Stored};
use crate::workspace_id::WorkspaceId;

/// Nodes of a page.
const NODES: usize = 2_000;
/// Edges of a page.
const EDGES: usize = 5_000;
/// Nodes whose edges are looked at together: Neo4j sorts them all for each page.
const STARTS: usize = 1_000;

/// Where a listing is.
struct Place<P, K> {
    store: Neo4j,
    graph: Graph,
    workspace: WorkspaceId,
    /// What is to be listed still; the first is being listed.
    parts: VecDeque<P>,
    /// The last node of the part that is done with.
    done: Option<String>,
    /// The first and last node of those whose edges are being listed.
    window: Option<(String, String)>,
    /// The last one that was listed, where there are more like it.
    after: Option<K>,
}

type Listing<K> = BoxStream<'static, Result<Stored<K>>>;

pub(super) fn nodes(store: Neo4j, graph: &Graph, workspace: &WorkspaceId) -> Listing<NodeKey> {
    let place = Place::<String, NodeKey>::new(store, graph, workspace, sorted(&graph.labels).cloned().collect());
    listing(stream::try_unfold(place, |mut place| async move { Ok(place.nodes().await?.map(|page| (page, place))) }))
}

pub(super) fn edges(store: Neo4j, graph: &Graph, workspace: &WorkspaceId) -> Listing<EdgeKey> {
    let labels: Vec<&String> = sorted(&graph.labels).collect();
    let parts = sorted(&graph.kinds).flat_map(|kind| labels.iter().map(move |from| (kind.clone(), (*from).clone()))).collect();
    let place = Place::<(String, String), EdgeKey>::new(store, graph, workspace, parts);
    listing(stream::try_unfold(place, |mut place| async move { Ok(place.edges().await?.map(|page| (page, place))) }))
}

fn sorted(names: &[String]) -> impl Iterator<Item = &String> {
    names.iter().collect::<BTreeSet<_>>().into_iter()
}

fn listing<K: Send + 'static>(pages: impl stream::Stream<Item = Result<Vec<Stored<K>>>> + Send + 'static) -> Listing<K> {
    pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten().boxed()
}

impl<P, K> Place<P, K> {
    fn new(store: Neo4j, graph: &Graph, workspace: &WorkspaceId, parts: VecDeque<P>) -> Self {
        let (graph, workspace) = (graph.clone(), workspace.clone());
        Self { store, graph, workspace, parts, done: None, window: None, after: None }
    }

    /// The next nodes of a label, with their hashes, at most `limit`.
    async fn next_nodes(&mut self, label: &str, limit: usize) -> Result<Vec<Stored<NodeKey>>> {
        let (sign, done) = self.done.as_ref().map_or((">=", ""), |id| (">", id));
        let text = format!(
            "MATCH (n:`{label}` {{_graph: $graph, workspace_id: $workspace}}) WHERE n.id {sign} $done \
             RETURN n.id AS id, n._hash AS hash ORDER BY n.id LIMIT {limit}"
        );
        let statement = bound(&self.graph, &self.workspace, text).with("done", done);
        let rows = self.store.read(&format!("cannot list nodes `{label}`"), &statement).await?;
        let stored = |row: &Row| {
            let key = NodeKey { label: label.to_owned(), id: self.store.text(row, "id")? };
            Ok(Stored { key, hash: self.store.text(row, "hash")? })
        };
        let page: Vec<Stored<NodeKey>> = rows.iter().map(stored).collect::<Result<_>>()?;
        self.done = page.last().map(|last| last.key.id.clone());
        if page.is_empty() {
            self.parts.pop_front();
        }
        Ok(page)
    }
}

impl Place<String, NodeKey> {
    async fn nodes(&mut self) -> Result<Option<Vec<Stored<NodeKey>>>> {
        match self.parts.front().cloned() {
            Some(label) => self.next_nodes(&label, NODES).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Place<(String, String), EdgeKey> {
    async fn edges(&mut self) -> Result<Option<Vec<Stored<EdgeKey>>>> {
        let Some((kind, label)) = self.parts.front().cloned() else { return Ok(None) };
        if self.window.is_none() {
            let starts = self.next_nodes(&label, STARTS).await?;
            self.window = starts.first().zip(starts.last()).map(|(first, last)| (first.key.id.clone(), last.key.id.clone()));
        }
        let Some((first, last)) = self.window.clone() else { return Ok(Some(Vec::new())) };
        let mut limit = EDGES;
        let (page, is_full) = loop {
            let mut page = self.edges_between((&kind, &label), (&first, &last), limit).await?;
            let is_full = page.len() == limit;
            page.retain(|stored| self.after.as_ref().is_none_or(|after| stored.key > *after));
            if !is_full || !page.is_empty() {
                break (page, is_full);
            }
            limit *= 2;
        };
        self.after = page.last().filter(|_| is_full).map(|last| last.key.clone());
        if self.after.is_none() {
            self.window = None;
        }
        Ok(Some(page))
    }

    /// The first edges from what was listed on that start at one of the nodes from `first` to `last`.
    async fn edges_between(
        &self,
        (kind, from): (&str, &str),
        (first, last): (&str, &str),
        limit: usize,
    ) -> Result<Vec<Stored<EdgeKey>>> {
        let later = match &self.after {
            Some(_) => "WHERE a.id <> $first OR label > $label OR (label = $label AND b.id > $to)",
            None => "",
        };
        let text = format!(
            "MATCH (a:`{from}` {{_graph: $graph, workspace_id: $workspace}})\
             -[r:`{kind}` {{_graph: $graph, workspace_id: $workspace}}]->(b {{_graph: $graph, workspace_id: $workspace}}) \
             WHERE a.id >= $first AND a.id <= $last WITH *, [l IN labels(b) WHERE l IN $labels][0] AS label {later} \
             RETURN a.id AS start, label, b.id AS end, r._hash AS hash ORDER BY a.id, label, b.id LIMIT {limit}"
        );
        let labels = self.graph.labels.iter().map(|label| label.as_str().into()).collect();
        let after = self.after.as_ref();
        let first = after.map_or(first, |key| &key.from.id);
        let (label, to) = after.map_or(("", String::new()), |key| (key.to.label.as_str(), plain_start(&key.to.id)));
        let statement = bound(&self.graph, &self.workspace, text).with_list("labels", labels).with("first", first);
        let statement = statement.with("last", last).with("label", label).with("to", to.as_str());
        let rows = self.store.read(&format!("cannot list edges `{kind}`"), &statement).await?;
        let stored = |row: &Row| {
            let text = |column| self.store.text(row, column);
            let from = NodeKey { label: from.to_owned(), id: text("start")? };
            let to = NodeKey { label: text("label")?, id: text("end")? };
            Ok(Stored { key: EdgeKey { kind: kind.to_owned(), from, to }, hash: text("hash")? })
        };
        rows.iter().map(stored).collect()
    }
}

/// The start of an id behind which ids come in the same order however texts are compared. Neo4j orders them by their characters, but
/// compares them with parameters by the halves of characters in UTF-16.
fn plain_start(id: &str) -> String {
    id.chars().take_while(|c| u32::from(*c) < 0xD800).collect()
}
