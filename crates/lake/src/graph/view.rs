//! A workspace's graph, read: from the lake's tables, or from the store that mirrors them.

use std::collections::BTreeMap;

use datafusion::prelude::DataFrame;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::local::LocalGraph;
use super::query::GraphQuery;
use super::store::{Graph, GraphStore, NodeKey, Subgraph};
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::pipeline::{Layer, TableName};
use crate::query_error::query_error;
use crate::sink::Mark;
use crate::storage::explain;
use crate::table::{At, Scope, Snapshot};
use crate::workspace::Workspace;

const FOLDER: &str = "_lake/graph";

/// The graph of a pipeline as one workspace sees it.
#[derive(Debug, Clone)]
pub struct GraphView {
    workspace: Workspace,
    graph: Graph,
    nodes: Snapshot,
    edges: Option<Snapshot>,
}

/// What was read, and the versions of the followed tables that it is true for.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// What was read.
    pub value: T,
    /// Table to version; empty when the store has not acknowledged any.
    pub versions: BTreeMap<String, i64>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    labels: Vec<String>,
    kinds: Vec<String>,
    nodes: String,
    edges: Option<String>,
    inputs: Vec<String>,
}

impl Graph {
    /// Keeps what the graph can hold, and in which tables it is, for those who read it without its pipeline.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn keep(&self, lake: &Lake, nodes: &TableName, edges: Option<&TableName>, inputs: &[TableName]) -> Result<()> {
        let kept = Kept {
            name: self.name.clone(),
            labels: self.labels.clone(),
            kinds: self.kinds.clone(),
            nodes: nodes.to_string(),
            edges: edges.map(ToString::to_string),
            inputs: inputs.iter().map(ToString::to_string).collect(),
        };
        let json = serde_json::to_vec_pretty(&kept).map_err(|e| Error::new(ErrorKind::Internal, "not JSON").with_source(e))?;
        let path = Path::from(format!("{FOLDER}/{}.json", nodes.name));
        let put = lake.root().store()?.put(&path, PutPayload::from(json)).await;
        put.map(|_| ()).map_err(|e| explain("cannot keep what the graph can hold", e))
    }
}

impl Workspace {
    /// The graph of the pipeline `name`; when it is left out, the only graph there is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::Config`] when there are several and none is named.
    pub async fn graph(&self, name: Option<&str>) -> Result<GraphView> {
        let mut all = vec![];
        for table in self.lake().tables().await?.into_iter().filter(|t| t.layer == Layer::Graph) {
            let path = Path::from(format!("{FOLDER}/{}.json", table.name));
            let fail = |e| explain("cannot read what the graph can hold", e);
            let bytes = match self.lake().root().store()?.get(&path).await {
                Err(object_store::Error::NotFound { .. }) => continue,
                found => found.map_err(fail)?.bytes().await.map_err(fail)?,
            };
            all.extend(serde_json::from_slice::<Kept>(&bytes).ok());
        }
        let names: Vec<String> = all.iter().map(|k| format!("`{}`", k.name)).collect();
        let none = || {
            let error = Error::new(ErrorKind::NotFound, "there is no such graph");
            match names.is_empty() {
                true => error.with_hint("add `graph:` to a pipeline, and run it"),
                false => error.with_hint(format!("there are {}", names.join(", "))),
            }
        };
        let kept = match name {
            Some(name) => all.into_iter().find(|k| k.name == name).ok_or_else(none)?,
            None if all.len() > 1 => {
                return Err(Error::new(ErrorKind::Config, format!("there are several graphs: {}", names.join(", ")))
                    .with_hint("name one with `--graph`"));
            }
            None => all.pop().ok_or_else(none)?,
        };
        let open = async |table: &str| -> Result<Option<Snapshot>> { self.lake().snapshot(&table.parse()?, At::Latest).await };
        let nodes = open(&kept.nodes).await?.ok_or_else(none)?;
        let edges = match &kept.edges {
            Some(edges) => open(edges).await?,
            None => None,
        };
        let graph = Graph { name: kept.name, labels: kept.labels, kinds: kept.kinds };
        Ok(GraphView { workspace: self.clone(), graph, nodes, edges })
    }
}

impl GraphView {
    /// Its labels and types.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What a store of a graph is marked by in the tables' logs.
    pub fn mark(store: &dyn GraphStore, graph: &Graph, table: &TableName) -> Mark {
        Mark::new(&store.describe(), &format!("{}/{table}", graph.name))
    }

    /// The nodes within `depth` steps of `node` and the edges between them; of very many the nearest `limit`. From `store` where it is given, else
    /// from the tables, which are then read as a whole.
    ///
    /// # Errors
    /// [`ErrorKind::Query`] for a label that the graph does not have; those of the store and of storage.
    pub async fn neighbors(
        &self,
        node: &NodeKey,
        depth: u32,
        limit: usize,
        store: Option<&dyn GraphStore>,
    ) -> Result<Answer<Subgraph>> {
        if !self.graph.labels.contains(&node.label) {
            let message = format!("the graph has no nodes `{}`", node.label);
            return Err(Error::new(ErrorKind::Query, message).with_hint(format!("it has {}", self.graph.labels.join(", "))));
        }
        let value = match store {
            Some(store) => store.neighbors(&self.graph, self.workspace.id(), node, depth, limit).await?,
            None => self.local().await?.neighbors(node, depth, limit),
        };
        Ok(Answer { value, versions: self.versions(store).await? })
    }

    /// What a query in a part of Cypher finds, at most `limit` rows. From `store` where it is given, else from the tables.
    ///
    /// # Errors
    /// [`ErrorKind::Query`] for a query that is wrong or does more than read; those of the store and of storage.
    pub async fn query(
        &self,
        text: &str,
        limit: usize,
        store: Option<&dyn GraphStore>,
    ) -> Result<Answer<Vec<Map<String, Value>>>> {
        let query = GraphQuery::parse(text)?;
        let value = match store {
            Some(store) => store.query(&self.graph, self.workspace.id(), &query, limit).await?,
            None => self.local().await?.query(&self.graph, &query, limit)?,
        };
        Ok(Answer { value, versions: self.versions(store).await? })
    }

    async fn local(&self) -> Result<LocalGraph> {
        let nodes = self.rows(&self.nodes).await?;
        let edges = match &self.edges {
            Some(edges) => self.rows(edges).await?,
            None => {
                // No edges have the columns of edges, and no rows.
                let sql = "SELECT '' AS kind, '' AS from_label, '' AS from_id, '' AS to_label, '' AS to_id, '{}' AS properties, \
                           '' AS hash WHERE false";
                let session = self.workspace.lake().engine().session();
                session.sql(sql).await.map_err(|e| query_error("cannot read the graph", e))?
            }
        };
        LocalGraph::load(nodes, edges).await
    }

    async fn rows(&self, table: &Snapshot) -> Result<DataFrame> {
        let provider = table.provider(&self.workspace.scope()).await?;
        self.workspace.lake().engine().session().read_table(provider).map_err(|e| query_error("cannot read the graph", e))
    }

    async fn versions(&self, store: Option<&dyn GraphStore>) -> Result<BTreeMap<String, i64>> {
        let scope = Scope::Workspace(self.workspace.id().clone());
        let progress = self.nodes.progress().await?;
        let progress = match store {
            None => Some(progress),
            Some(store) => {
                let acknowledged = Self::mark(store, &self.graph, self.nodes.name()).get(&progress, &scope);
                let then = match acknowledged {
                    Some(version) => self.workspace.lake().snapshot(self.nodes.name(), At::Version(version)).await?,
                    None => None,
                };
                match then {
                    Some(then) => Some(then.progress().await?),
                    None => None,
                }
            }
        };
        let Some(progress) = progress else { return Ok(BTreeMap::new()) };
        let layers = [Layer::Silver, Layer::Gold].map(|l| format!("{l}."));
        let names = progress.names().map(|n| n.split('@').next().unwrap_or(n).to_owned());
        let mut names: Vec<String> = names.filter(|n| layers.iter().any(|l| n.starts_with(l.as_str()))).collect();
        names.sort();
        names.dedup();
        Ok(progress.in_scope(&scope, &names).inputs)
    }
}
