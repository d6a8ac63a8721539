//! What every store of graphs can do.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde::Serialize;
use serde_json::{Map, Value};

use super::query::GraphQuery;
use crate::error::Result;
use crate::workspace_id::WorkspaceId;

/// The graph of one pipeline: what its nodes and edges can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    /// The pipeline's name: graphs of two pipelines in one store are apart.
    pub name: String,
    /// The labels of its nodes, such as `Person`: letters, digits and `_`.
    pub labels: Vec<String>,
    /// The types of its edges, such as `WROTE`: letters, digits and `_`.
    pub kinds: Vec<String>,
}

/// What tells one node of a workspace's graph from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeKey {
    /// Such as `Person`.
    pub label: String,
    /// Such as `alice`.
    pub id: String,
}

/// What tells one edge of a workspace's graph from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EdgeKey {
    /// Such as `WROTE`.
    pub kind: String,
    /// Where it starts.
    pub from: NodeKey,
    /// Where it ends.
    pub to: NodeKey,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    /// Its label and id.
    #[serde(flatten)]
    pub key: NodeKey,
    /// Its properties: texts, numbers, truth values and lists of these; none is null.
    pub properties: Map<String, Value>,
    /// Hex digits over the properties: nodes with the same key and hash are the same.
    #[serde(skip)]
    pub hash: String,
}

/// An edge. Its ends are nodes of the same graph and workspace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edge {
    /// Its type and ends.
    #[serde(flatten)]
    pub key: EdgeKey,
    /// Its properties, as a node's.
    pub properties: Map<String, Value>,
    /// Hex digits over the properties.
    #[serde(skip)]
    pub hash: String,
}

/// What a store says of a node or edge it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stored<K> {
    /// Which it is.
    pub key: K,
    /// The hash it was stored with.
    pub hash: String,
}

/// Nodes and the edges between them.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Subgraph {
    /// Sorted by key.
    pub nodes: Vec<Node>,
    /// Sorted by key.
    pub edges: Vec<Edge>,
}

/// A store of graphs. Every call but [`GraphStore::prepare`] takes the workspace whose graph it is, and cannot reach others.
#[async_trait]
pub trait GraphStore: Send + Sync + Debug {
    /// What it is and where, without secrets: `Neo4j at bolt://localhost:7687`.
    fn describe(&self) -> String;

    /// Makes the constraints and indexes that the graph needs, if they are not there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] when the store cannot be reached or refuses.
    async fn prepare(&self, graph: &Graph) -> Result<()>;

    /// Stores nodes, each in place of the one with its key: properties that it no longer has are gone. Its edges stay.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`]; part of the nodes may be stored then.
    async fn upsert_nodes(&self, graph: &Graph, workspace: &WorkspaceId, nodes: Vec<Node>) -> Result<()>;

    /// Stores edges, each in place of the one with its key. An edge with an end that is not there is an error: nodes come first.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`]; part of the edges may be stored then.
    async fn upsert_edges(&self, graph: &Graph, workspace: &WorkspaceId, edges: Vec<Edge>) -> Result<()>;

    /// Removes edges by key; keys that are not there are passed over.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`]; part of the edges may be gone then.
    async fn delete_edges(&self, graph: &Graph, workspace: &WorkspaceId, edges: &[EdgeKey]) -> Result<()>;

    /// Removes nodes by key, and edges that still hang on them; keys that are not there are passed over.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`]; part of the nodes may be gone then.
    async fn delete_nodes(&self, graph: &Graph, workspace: &WorkspaceId, nodes: &[NodeKey]) -> Result<()>;

    /// The nodes of a workspace, in the order of their keys.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`], also in the stream.
    async fn nodes(&self, graph: &Graph, workspace: &WorkspaceId) -> Result<BoxStream<'static, Result<Stored<NodeKey>>>>;

    /// The edges of a workspace, in the order of their keys.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`], also in the stream.
    async fn edges(&self, graph: &Graph, workspace: &WorkspaceId) -> Result<BoxStream<'static, Result<Stored<EdgeKey>>>>;

    /// The workspaces that have nodes in the graph, sorted: for finding those that should have none.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`].
    async fn workspaces(&self, graph: &Graph) -> Result<Vec<WorkspaceId>>;

    /// The nodes within `depth` steps of `node`, whichever way the edges point, itself included, and the edges between them; the nearest
    /// `limit` nodes, of those equally near the first by key. Empty when the node is not there.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`].
    async fn neighbors(
        &self,
        graph: &Graph,
        workspace: &WorkspaceId,
        node: &NodeKey,
        depth: u32,
        limit: usize,
    ) -> Result<Subgraph>;

    /// What a query finds in a workspace's graph, by the names of its columns; at most `limit` rows. A node is
    /// `{label, id, properties}`, an edge `{type, from, to, properties}`, where the ends are `{label, id}`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Query`] when the graph has no such label or type, or values do not suit the query;
    /// [`crate::ErrorKind::Storage`].
    async fn query(
        &self,
        graph: &Graph,
        workspace: &WorkspaceId,
        query: &GraphQuery,
        limit: usize,
    ) -> Result<Vec<Map<String, Value>>>;
}
