//! A graph in a graph store, kept equal to the tables of nodes and edges.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use datafusion::functions::string::expr_fn::concat_ws;
use datafusion::prelude::{DataFrame, SessionContext, lit};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use lake::graph::{Edge, EdgeKey, GraphStore, GraphView, Node, NodeKey, Stored};
use lake::pipeline::{CompiledGraph, TableName};
use lake::sink::Mark;
use lake::table::{At, Scope, Snapshot, Steps};
use lake::{Error, ErrorKind, Lake, Result, WORKSPACE_COLUMN, WorkspaceId};
use serde_json::{Map, Value};

use super::compare::{Difference, differences, internal, parted, texts};
use super::{SENT_AT_ONCE, SYNCS, Sent, by_workspace, overtaken};
use crate::context::JobContext;
use crate::vectors::{failed, unqualified};

const NODE_KEY: [&str; 2] = ["label", "id"];
const EDGE_KEY: [&str; 5] = ["kind", "from_label", "from_id", "to_label", "to_id"];

/// The tables of a graph and the store that mirrors them.
pub(crate) struct GraphSink<'a> {
    lake: &'a Lake,
    graph: &'a CompiledGraph,
    store: &'a dyn GraphStore,
}

/// What differs in one workspace.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    pub(crate) nodes: Vec<Difference<NodeKey>>,
    pub(crate) edges: Vec<Difference<EdgeKey>>,
}

/// One of the two tables, with what has to be done.
struct Side {
    table: Snapshot,
    mark: Mark,
    steps: Found,
}

/// The version of each table that tries began at.
type Lowest = BTreeMap<TableName, Option<i64>>;

enum Found {
    Nothing,
    Steps(Box<Steps>),
    Compare,
}

impl<'a> GraphSink<'a> {
    pub(crate) fn new(lake: &'a Lake, graph: &'a CompiledGraph, store: &'a dyn GraphStore) -> Self {
        Self { lake, graph, store }
    }

    async fn snapshot(&self, name: &TableName) -> Result<Snapshot> {
        self.lake.snapshot(name, At::Latest).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("`{name}` does not exist")).with_hint("run the pipeline first")
        })
    }

    /// Sends what changed since the store has acknowledged the tables last.
    pub(crate) async fn sync(&self, context: &JobContext) -> Result<Sent> {
        self.store.prepare(&self.graph.graph).await?;
        let (mut lowest, mut all) = (BTreeMap::new(), Sent::default());
        for _ in 0..SYNCS {
            let (sent, again) = self.sync_once(context, &mut lowest).await?;
            all += sent;
            if !again {
                return Ok(all);
            }
        }
        Err(overtaken(&self.graph.graph.name))
    }

    /// As [`GraphSink::sync`], from the lowest versions of all tries on; gives whether another run wrote to the store meanwhile, so that what this
    /// one wrote may be older.
    async fn sync_once(&self, context: &JobContext, lowest: &mut Lowest) -> Result<(Sent, bool)> {
        let session = self.lake.engine().scratch_session();
        let scope = &context.scope;
        let nodes = self.side(&session, &self.graph.nodes.name, &NODE_KEY, scope, lowest).await?;
        let edges = match &self.graph.edges {
            Some(edges) => Some(self.side(&session, &edges.name, &EDGE_KEY, scope, lowest).await?),
            None => None,
        };
        let mut sent = Sent::default();
        let compares = |side: &Side| matches!(side.steps, Found::Compare);
        // A store that lost all it had is filled anew, whatever it has acknowledged.
        if self.store.workspaces(&self.graph.graph).await?.is_empty() {
            let all = async |side: &Side| session.read_table(side.table.provider(scope).await?).map_err(failed);
            sent += self.upsert_nodes(context, all(&nodes).await?).await?;
            if let Some(edges) = &edges {
                sent += self.upsert_edges(context, all(edges).await?).await?;
            }
        } else if compares(&nodes) || edges.as_ref().is_some_and(compares) {
            for workspace in self.workspaces(scope).await? {
                let found = self.compare(&session, &workspace).await?;
                sent += self.repair(context, &session, &workspace, found).await?;
            }
        } else {
            // An edge needs its ends: nodes come before edges, and go after them.
            if let Found::Steps(steps) = &nodes.steps {
                sent += self.upsert_nodes(context, steps.upserts.clone()).await?;
            }
            if let Some(Side { steps: Found::Steps(steps), .. }) = &edges {
                sent += self.upsert_edges(context, steps.upserts.clone()).await?;
                sent += self.delete_edges(context, steps.deletes.clone()).await?;
            }
            if let Found::Steps(steps) = &nodes.steps {
                sent += self.delete_nodes(context, steps.deletes.clone()).await?;
            }
        }
        let mut again = false;
        for side in std::iter::once(&nodes).chain(&edges).filter(|side| !matches!(side.steps, Found::Nothing)) {
            match side.mark.advance(&side.table, scope, &context.run_id).await {
                Err(error) if error.kind() == ErrorKind::Conflict => again = true,
                done => done?,
            }
        }
        Ok((sent, again))
    }

    async fn side(
        &self,
        session: &SessionContext,
        name: &TableName,
        key: &[&str],
        scope: &Scope,
        lowest: &mut Lowest,
    ) -> Result<Side> {
        let table = self.snapshot(name).await?;
        let mark = GraphView::mark(self.store, &self.graph.graph, name);
        let acknowledged = mark.get(&table.progress().await?, scope);
        let since = lowest.get(name).map_or(acknowledged, |lowest| (*lowest).min(acknowledged));
        lowest.insert(name.clone(), since);
        let followed = match since {
            Some(since) => table.follow(since, scope).await?,
            None => None,
        };
        let steps = match followed {
            Some(followed) if followed.is_empty() => Found::Nothing,
            Some(followed) => {
                let steps = followed.steps(session, key, "hash", Ok)?;
                Found::Steps(Box::new(steps))
            }
            None => Found::Compare,
        };
        Ok(Side { table, mark, steps })
    }

    /// The version of each source that the tables are true for, the lowest of them.
    pub(crate) async fn source_version(&self, scope: &Scope) -> Result<Option<i64>> {
        let names: Vec<String> = self.graph.nodes.inputs.iter().map(ToString::to_string).collect();
        let marks = self.snapshot(&self.graph.nodes.name).await?.progress().await?.in_scope(scope, &names);
        Ok(marks.inputs.values().copied().min())
    }

    /// The workspaces in scope that the tables or the store have nodes of.
    pub(crate) async fn workspaces(&self, scope: &Scope) -> Result<Vec<WorkspaceId>> {
        if let Scope::Workspace(own) = scope {
            return Ok(vec![own.clone()]);
        }
        let table = self.snapshot(&self.graph.nodes.name).await?;
        let mut all: BTreeSet<String> = table.files(scope)?.into_iter().filter_map(|f| f.workspace).collect();
        all.extend(self.store.workspaces(&self.graph.graph).await?.iter().map(ToString::to_string));
        all.iter().map(WorkspaceId::new).collect()
    }

    async fn upsert_nodes(&self, context: &JobContext, rows: DataFrame) -> Result<Sent> {
        self.send(context, rows, &NODE_KEY, node, async |workspace, nodes| {
            self.store.upsert_nodes(&self.graph.graph, workspace, nodes).await
        })
        .await
        .map(|upserted| Sent { upserted, deleted: 0 })
    }

    async fn upsert_edges(&self, context: &JobContext, rows: DataFrame) -> Result<Sent> {
        self.send(context, rows, &EDGE_KEY, edge, async |workspace, edges| {
            self.store.upsert_edges(&self.graph.graph, workspace, edges).await
        })
        .await
        .map(|upserted| Sent { upserted, deleted: 0 })
    }

    async fn delete_nodes(&self, context: &JobContext, rows: DataFrame) -> Result<Sent> {
        self.send(
            context,
            rows,
            &NODE_KEY,
            |batch, row| Ok(node(batch, row)?.key),
            async |workspace, keys: Vec<NodeKey>| self.store.delete_nodes(&self.graph.graph, workspace, &keys).await,
        )
        .await
        .map(|deleted| Sent { upserted: 0, deleted })
    }

    async fn delete_edges(&self, context: &JobContext, rows: DataFrame) -> Result<Sent> {
        self.send(
            context,
            rows,
            &EDGE_KEY,
            |batch, row| Ok(edge(batch, row)?.key),
            async |workspace, keys: Vec<EdgeKey>| self.store.delete_edges(&self.graph.graph, workspace, &keys).await,
        )
        .await
        .map(|deleted| Sent { upserted: 0, deleted })
    }

    /// Takes rows batch by batch to the store, apart by workspace; gives how many there were.
    async fn send<T>(
        &self,
        context: &JobContext,
        rows: DataFrame,
        key: &[&str],
        read: impl Fn(&RecordBatch, usize) -> Result<T>,
        store: impl AsyncFn(&WorkspaceId, Vec<T>) -> Result<()>,
    ) -> Result<u64> {
        let columns: Vec<_> = key.iter().chain(&["properties", "hash", WORKSPACE_COLUMN]).map(|c| unqualified(c)).collect();
        let mut stream = rows.select(columns).map_err(failed)?.execute_stream().await.map_err(failed)?;
        let mut count = 0;
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            for start in (0..batch.num_rows()).step_by(SENT_AT_ONCE) {
                context.check_cancelled()?;
                let part = batch.slice(start, SENT_AT_ONCE.min(batch.num_rows() - start));
                let workspaces = texts(&part, WORKSPACE_COLUMN)?;
                let all = (0..part.num_rows()).map(|row| Ok((workspaces.value(row).to_owned(), read(&part, row)?)));
                for (workspace, some) in by_workspace(all.collect::<Result<Vec<_>>>()?)? {
                    count += some.len() as u64;
                    store(&workspace, some).await?;
                }
            }
        }
        Ok(count)
    }

    /// Every difference between what the tables and the store have of a workspace.
    pub(crate) async fn compare(&self, session: &SessionContext, workspace: &WorkspaceId) -> Result<Differences> {
        let (graph, mut found) = (&self.graph.graph, Differences::default());
        let rows = self.rows(session, &self.graph.nodes.name, workspace).await?;
        let stored = self.store.nodes(graph, workspace).await?;
        found.nodes = differences(sorted(rows, &NODE_KEY)?, keyed(stored), "hash", node_key).await?;
        if let Some(edges) = &self.graph.edges {
            let rows = self.rows(session, &edges.name, workspace).await?;
            let stored = self.store.edges(graph, workspace).await?;
            found.edges = differences(sorted(rows, &EDGE_KEY)?, keyed(stored), "hash", edge_key).await?;
        }
        Ok(found)
    }

    async fn rows(&self, session: &SessionContext, name: &TableName, workspace: &WorkspaceId) -> Result<DataFrame> {
        let table = self.snapshot(name).await?;
        session.read_table(table.provider(&Scope::Workspace(workspace.clone())).await?).map_err(failed)
    }

    /// Makes the store as the tables are.
    pub(crate) async fn repair(
        &self,
        context: &JobContext,
        session: &SessionContext,
        workspace: &WorkspaceId,
        found: Differences,
    ) -> Result<Sent> {
        let mut sent = Sent::default();
        let (nodes, extra_nodes) = parted(found.nodes);
        for some in nodes.chunks(SENT_AT_ONCE) {
            let keys = some.iter().map(|k| joined([&k.label, &k.id])).collect();
            let rows = self.rows(session, &self.graph.nodes.name, workspace).await?;
            sent += self.upsert_nodes(context, among(rows, &NODE_KEY, keys)?).await?;
        }
        let (edges, extra_edges) = parted(found.edges);
        if let Some(table) = &self.graph.edges {
            for some in edges.chunks(SENT_AT_ONCE) {
                let key = |k: &EdgeKey| joined([&k.kind, &k.from.label, &k.from.id, &k.to.label, &k.to.id]);
                let rows = self.rows(session, &table.name, workspace).await?;
                sent += self.upsert_edges(context, among(rows, &EDGE_KEY, some.iter().map(key).collect())?).await?;
            }
        }
        for some in extra_edges.chunks(SENT_AT_ONCE) {
            self.store.delete_edges(&self.graph.graph, workspace, some).await?;
            sent.deleted += some.len() as u64;
        }
        for some in extra_nodes.chunks(SENT_AT_ONCE) {
            self.store.delete_nodes(&self.graph.graph, workspace, some).await?;
            sent.deleted += some.len() as u64;
        }
        Ok(sent)
    }
}

/// Between the parts of a key. A text that holds it only makes more rows be sent than must.
const SEPARATOR: &str = "\u{0}";

fn joined<const N: usize>(parts: [&String; N]) -> String {
    parts.map(String::as_str).join(SEPARATOR)
}

/// The rows with these keys. One list is planned at once, where as many conditions would take long.
fn among(rows: DataFrame, columns: &[&str], keys: Vec<String>) -> Result<DataFrame> {
    let whole = concat_ws(lit(SEPARATOR), columns.iter().map(|c| unqualified(c)).collect());
    rows.filter(whole.in_list(keys.into_iter().map(lit).collect(), false)).map_err(failed)
}

fn keyed<K: Send + 'static>(stored: BoxStream<'static, Result<Stored<K>>>) -> BoxStream<'static, Result<(K, String)>> {
    stored.map_ok(|s| (s.key, s.hash)).boxed()
}

fn sorted(rows: DataFrame, key: &[&str]) -> Result<DataFrame> {
    rows.sort(key.iter().map(|c| unqualified(c).sort(true, false)).collect()).map_err(failed)
}

fn node_key(batch: &RecordBatch, row: usize) -> Result<NodeKey> {
    let value = |name: &str| Ok::<_, Error>(texts(batch, name)?.value(row).to_owned());
    Ok(NodeKey { label: value("label")?, id: value("id")? })
}

fn edge_key(batch: &RecordBatch, row: usize) -> Result<EdgeKey> {
    let value = |name: &str| Ok::<_, Error>(texts(batch, name)?.value(row).to_owned());
    let from = NodeKey { label: value("from_label")?, id: value("from_id")? };
    let to = NodeKey { label: value("to_label")?, id: value("to_id")? };
    Ok(EdgeKey { kind: value("kind")?, from, to })
}

fn node(batch: &RecordBatch, row: usize) -> Result<Node> {
    let hash = texts(batch, "hash")?.value(row).to_owned();
    Ok(Node { key: node_key(batch, row)?, properties: properties(batch, row)?, hash })
}

fn edge(batch: &RecordBatch, row: usize) -> Result<Edge> {
    let hash = texts(batch, "hash")?.value(row).to_owned();
    Ok(Edge { key: edge_key(batch, row)?, properties: properties(batch, row)?, hash })
}

fn properties(batch: &RecordBatch, row: usize) -> Result<Map<String, Value>> {
    serde_json::from_str(texts(batch, "properties")?.value(row)).map_err(|e| internal("properties are no JSON").with_source(e))
}
