//! Neo4j over Bolt.
//!
//! A node has its label, its own properties, and `workspace_id`, `_graph`, `id` and `_hash`; an edge has its type, its own properties, and
//! `workspace_id`, `_graph` and `_hash`. Every statement binds the workspace and the graph of whatever it touches.

mod error;
mod neighbors;
mod page;
mod session;
mod value;
mod write;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use neo4rs::{BoltType, Row};
use serde_json::{Map, Value};
use url::Url;

use self::session::{End, Sessions, Statement};
use super::is_name;
use super::query::GraphQuery;
use super::store::{Edge, EdgeKey, Graph, GraphStore, Node, NodeKey, Stored, Subgraph};
use crate::error::{Error, ErrorKind, Result};
use crate::workspace_id::WorkspaceId;

/// Where a Neo4j is, and how to sign in.
#[derive(Clone)]
pub struct Neo4jOptions {
    /// `NEO4J_URI`, such as `bolt://localhost:7687` or `neo4j://localhost`.
    pub uri: String,
    /// `NEO4J_USER`, usually `neo4j`.
    pub user: String,
    /// `NEO4J_PASSWORD`.
    pub password: String,
    /// `NEO4J_DATABASE`; `neo4j` when it is none.
    pub database: Option<String>,
    /// How long to go on when Neo4j cannot be reached or is busy.
    pub patience: Duration,
}

impl fmt::Debug for Neo4jOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Neo4jOptions");
        shown.field("uri", &self.uri).field("user", &self.user).field("database", &self.database);
        shown.field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// Graphs in a Neo4j database. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Neo4j {
    sessions: Arc<Sessions>,
}

impl Neo4j {
    /// Looks at the options; nothing is asked of the server yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the URI cannot be one of a Neo4j.
    pub fn connect(options: Neo4jOptions) -> Result<Self> {
        let uri = checked_uri(&options.uri)?;
        let options = Neo4jOptions { uri, ..options };
        Ok(Self { sessions: Arc::new(Sessions::new(options)) })
    }

    /// Whether the server is there and lets the user in.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be reached, [`ErrorKind::Config`] when it refuses the user.
    pub async fn ping(&self) -> Result<()> {
        self.read("cannot sign in", &Statement::new("RETURN 1 AS one".to_owned())).await.map(drop)
    }

    async fn read(&self, what: &str, statement: &Statement) -> Result<Vec<Row>> {
        self.sessions.run(what, statement, End::TakeBack).await
    }

    async fn write(&self, what: &str, statement: &Statement) -> Result<Vec<Row>> {
        self.sessions.run(what, statement, End::Keep(&|_| Ok(()))).await
    }
}

#[async_trait]
impl GraphStore for Neo4j {
    fn describe(&self) -> String {
        format!("Neo4j at {}", self.sessions.uri())
    }

    async fn prepare(&self, graph: &Graph) -> Result<()> {
        checked_names(graph)?;
        for label in &graph.labels {
            // The graph comes first, so that its workspaces can be found by the same index.
            let text = format!(
                "CREATE CONSTRAINT `lake_{label}` IF NOT EXISTS FOR (n:`{label}`) REQUIRE (n._graph, n.workspace_id, n.id) IS UNIQUE"
            );
            self.write(&format!("cannot make the constraint of label `{label}`"), &Statement::new(text)).await?;
        }
        Ok(())
    }

    async fn upsert_nodes(&self, graph: &Graph, workspace: &WorkspaceId, nodes: Vec<Node>) -> Result<()> {
        self.store_nodes(graph, workspace, &nodes).await
    }

    async fn upsert_edges(&self, graph: &Graph, workspace: &WorkspaceId, edges: Vec<Edge>) -> Result<()> {
        self.store_edges(graph, workspace, &edges).await
    }

    async fn delete_edges(&self, graph: &Graph, workspace: &WorkspaceId, edges: &[EdgeKey]) -> Result<()> {
        self.remove_edges(graph, workspace, edges).await
    }

    async fn delete_nodes(&self, graph: &Graph, workspace: &WorkspaceId, nodes: &[NodeKey]) -> Result<()> {
        self.remove_nodes(graph, workspace, nodes).await
    }

    async fn nodes(&self, graph: &Graph, workspace: &WorkspaceId) -> Result<BoxStream<'static, Result<Stored<NodeKey>>>> {
        checked_names(graph)?;
        Ok(page::nodes(self.clone(), graph, workspace))
    }

    async fn edges(&self, graph: &Graph, workspace: &WorkspaceId) -> Result<BoxStream<'static, Result<Stored<EdgeKey>>>> {
        checked_names(graph)?;
        Ok(page::edges(self.clone(), graph, workspace))
    }

    async fn workspaces(&self, graph: &Graph) -> Result<Vec<WorkspaceId>> {
        checked_names(graph)?;
        let mut found = BTreeSet::new();
        for label in &graph.labels {
            let mut after = String::new();
            while let Some(next) = self.workspace_after(graph, label, &after).await? {
                found.insert(WorkspaceId::new(&next)?);
                after = next;
            }
        }
        Ok(found.into_iter().collect())
    }

    async fn neighbors(
        &self,
        graph: &Graph,
        workspace: &WorkspaceId,
        node: &NodeKey,
        depth: u32,
        limit: usize,
    ) -> Result<Subgraph> {
        checked_names(graph)?;
        neighbors::Search::new(self, graph, workspace).run(node, depth, limit).await
    }

    async fn query(
        &self,
        graph: &Graph,
        workspace: &WorkspaceId,
        query: &GraphQuery,
        limit: usize,
    ) -> Result<Vec<Map<String, Value>>> {
        checked_names(graph)?;
        let (text, literals) = query.to_cypher(graph, limit)?;
        let statement = literals.iter().fold(bound(graph, workspace, text), |statement, (name, value)| {
            statement.with(name, value::to_bolt(value).unwrap_or(BoltType::Null(neo4rs::BoltNull)))
        });
        let rows = self.sessions.ask("cannot run the query", &statement).await?;
        rows.iter().map(|row| self.result(graph, query, row)).collect()
    }
}

impl Neo4j {
    /// The first workspace by name after `after` that has nodes of `label`.
    async fn workspace_after(&self, graph: &Graph, label: &str, after: &str) -> Result<Option<String>> {
        let text = format!(
            "MATCH (n:`{label}`) WHERE n._graph = $graph AND n.workspace_id > $after AND n.id IS NOT NULL \
             RETURN n.workspace_id AS workspace ORDER BY n._graph, n.workspace_id LIMIT 1"
        );
        let statement = Statement::new(text).with("graph", graph.name.as_str()).with("after", after);
        let rows = self.read("cannot list workspaces", &statement).await?;
        rows.first().map(|row| self.text(row, "workspace")).transpose()
    }

    fn result(&self, graph: &Graph, query: &GraphQuery, row: &Row) -> Result<Map<String, Value>> {
        let value = |(at, name): (usize, &str)| {
            Ok((name.to_owned(), value::to_json(&self.column(row, &format!("c{at}"))?, &graph.labels)))
        };
        query.columns().enumerate().map(value).collect()
    }

    fn text(&self, row: &Row, column: &str) -> Result<String> {
        match self.column(row, column)? {
            BoltType::String(text) => Ok(text.value),
            _ => Err(self.odd(column)),
        }
    }

    fn column(&self, row: &Row, column: &str) -> Result<BoltType> {
        row.get(column).map_err(|_| self.odd(column))
    }

    fn odd(&self, column: &str) -> Error {
        let message = format!("Neo4j at {} holds a node or edge without a text in `{column}`", self.sessions.uri());
        Error::new(ErrorKind::Storage, message).with_hint("something else wrote it; remove it")
    }
}

/// A property's value as Neo4j gives it back; none for a null.
pub(super) fn as_held(value: &Value) -> Option<Value> {
    value::to_bolt(value).map(|held| value::to_json(&held, &[]))
}

/// A statement about a workspace's part of a graph.
fn bound(graph: &Graph, workspace: &WorkspaceId, text: String) -> Statement {
    Statement::new(text).with("graph", graph.name.as_str()).with("workspace", workspace.as_str())
}

/// Labels and types go into the text of statements, so they are looked at in every call.
fn checked_names(graph: &Graph) -> Result<()> {
    graph.labels.iter().chain(&graph.kinds).try_for_each(|name| checked_name(name).map(drop))
}

fn checked_name(name: &str) -> Result<&str> {
    if is_name(name) {
        return Ok(name);
    }
    let message = format!("`{}` cannot be a label or a type", name.escape_debug());
    Err(Error::new(ErrorKind::Config, message)
        .with_hint("use letters, digits and `_`, not starting with a digit, such as `Person`"))
}

fn checked_uri(uri: &str) -> Result<String> {
    let wrong = |why: String, hint: &str| Err(Error::new(ErrorKind::Config, format!("`NEO4J_URI` {why}")).with_hint(hint));
    let Ok(url) = Url::parse(uri) else { return wrong("is not a URI".to_owned(), EXAMPLE) };
    if url.host_str().unwrap_or_default().is_empty() {
        return wrong("names no host".to_owned(), EXAMPLE);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("holds a user or a password".to_owned(), "give them as `NEO4J_USER` and `NEO4J_PASSWORD`");
    }
    match url.scheme() {
        "bolt" | "neo4j" => Ok(uri.to_owned()),
        // The driver panics for want of a process-wide provider of cryptography.
        "bolt+s" | "neo4j+s" | "bolt+ssc" | "neo4j+ssc" => wrong(
            format!("asks for TLS (`{}`), which cannot be had yet", url.scheme()),
            "use `bolt://` through a private network or a tunnel",
        ),
        other => wrong(format!("has the unknown scheme `{other}`"), EXAMPLE),
    }
}

const EXAMPLE: &str = "such as `bolt://localhost:7687` or `neo4j://localhost:7687`";

#[cfg(test)]
mod tests {
    use super::*;

    fn options(uri: &str) -> Neo4jOptions {
        let password = "hunter2".to_owned();
        Neo4jOptions { uri: uri.to_owned(), user: "neo4j".into(), password, database: None, patience: Duration::ZERO }
    }

    #[test]
    fn a_uri_that_cannot_be_one_is_refused_before_anything_is_asked() {
        for uri in ["bolt://localhost", "neo4j://10.0.0.1:7688", "bolt://[::1]:7687"] {
            assert!(Neo4j::connect(options(uri)).is_ok(), "{uri}");
        }
        for uri in [
            "",
            "localhost",
            "localhost:7687",
            "bolt://",
            "bolt:///x",
            "http://localhost",
            "bolt+s://h",
            "neo4j+ssc://h",
            "bolt://u:p@h",
        ] {
            let error = Neo4j::connect(options(uri)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{uri}");
            assert!(error.hint().is_some() && !error.to_string().contains("p@"), "{uri}");
        }
    }

    #[test]
    fn the_password_is_not_shown() {
        let neo4j = Neo4j::connect(options("bolt://localhost")).unwrap();
        assert!(!format!("{neo4j:?}").contains("hunter2"));
    }

    #[test]
    fn a_name_that_could_end_its_quotes_is_refused() {
        for name in ["", "a`b", "1a", "a b", "Ä", "a:b", "a\u{60}"] {
            assert!(checked_name(name).is_err(), "{name}");
        }
        assert!(checked_name("_Person1").is_ok());
    }
}
