//! Compares tables with the stores that mirror them, and repairs the stores.

use std::sync::Arc;

use chrono::Utc;
use lake::graph::{EdgeKey, NodeKey};
use lake::table::At;
use lake::{ErrorKind, Result};
use serde::Serialize;

use crate::context::{JobContext, Silent};
use crate::feed::Handover;
use crate::prepare::Project;
use crate::sinks::{Difference, GraphSink, VectorSink};

/// The schema name of [`ReconcileReport`].
const SCHEMA: &str = "lake.reconcile.v1";

/// The differences of one sink that a report names; all are counted.
const NAMED: usize = 1000;

/// What a comparison found, and repaired.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReconcileReport {
    /// `lake.reconcile.v1`.
    pub schema: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// Whether every store is as its tables are, after repairs.
    pub in_step: bool,
    /// By sink and workspace.
    pub sinks: Vec<SinkDifferences>,
}

/// What differs between tables and a store for one workspace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SinkDifferences {
    /// `vectors.posts`, or `graph.` and the pipeline's name.
    pub sink: String,
    /// The store.
    pub store: String,
    /// The workspace.
    pub workspace: String,
    /// In the tables and not in the store.
    pub missing: u64,
    /// In both, with other contents.
    pub different: u64,
    /// In the store and not in the tables.
    pub extra: u64,
    /// Sent or taken away to repair.
    pub repaired: u64,
    /// The first thousand differences: `missing 0198...`, `extra Person:alice`. Ids only, no contents.
    pub differences: Vec<String>,
}

impl SinkDifferences {
    fn new(sink: &str, store: String, workspace: &str) -> Self {
        let (sink, workspace) = (sink.to_owned(), workspace.to_owned());
        Self { sink, store, workspace, missing: 0, different: 0, extra: 0, repaired: 0, differences: vec![] }
    }

    fn note<K>(&mut self, found: &[Difference<K>], name: impl Fn(&K) -> String) {
        for difference in found {
            let (count, word, key) = match difference {
                Difference::Missing(key) => (&mut self.missing, "missing", key),
                Difference::Different(key) => (&mut self.different, "different", key),
                Difference::Extra(key) => (&mut self.extra, "extra", key),
            };
            *count += 1;
            if self.differences.len() < NAMED {
                self.differences.push(format!("{word} {}", name(key)));
            }
        }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.missing + self.different + self.extra
    }
}

/// Compares the tables of vectors, nodes and edges with the stores, workspace by workspace; with `repair`, makes the stores as the tables are.
///
/// # Errors
/// Those of the stores and of storage; [`ErrorKind::NotFound`] when the pipeline was not run yet.
pub async fn reconcile(project: &Project, repair: bool) -> Result<ReconcileReport> {
    let context = JobContext {
        lake: project.lake.clone(),
        scope: project.scope.clone(),
        run_id: uuid::Uuid::now_v7().to_string(),
        started_at: Utc::now(),
        full_refresh: false,
        observer: Arc::new(Silent),
        cancel: Default::default(),
        readers: Arc::default(),
        handover: Handover::default(),
    };
    let mut sinks = vec![];
    if let Some(stores) = &project.sinks {
        let session = project.lake.engine().scratch_session();
        for table in project.compiled.vectors.values() {
            let Some(store) = &stores.vectors else { continue };
            let sink = VectorSink::new(&project.lake, table, stores.embedder.as_ref(), store.as_ref()).await?;
            store.prepare(sink.collection()).await?;
            let snapshot = project.lake.snapshot(&table.name, At::Latest).await?;
            let snapshot = snapshot.ok_or_else(|| not_run(&table.name.to_string()))?;
            for workspace in sink.workspaces(&snapshot, &context.scope).await? {
                let found = sink.compare(&session, &snapshot, &workspace).await?;
                let mut told = SinkDifferences::new(&table.name.to_string(), store.describe(), workspace.as_str());
                told.note(&found, ToString::to_string);
                if repair && !found.is_empty() {
                    let sent = sink.repair(&context, &session, &snapshot, &workspace, found).await?;
                    told.repaired = sent.upserted + sent.deleted;
                }
                sinks.push(told);
            }
            if repair {
                sink.publish(&snapshot).await?;
            }
        }
        if let (Some(graph), Some(store)) = (&project.compiled.property_graph, &stores.graph) {
            let sink = GraphSink::new(&project.lake, graph, store.as_ref());
            store.prepare(&graph.graph).await?;
            for workspace in sink.workspaces(&context.scope).await? {
                let found = sink.compare(&session, &workspace).await?;
                let name = format!("graph.{}", graph.graph.name);
                let mut told = SinkDifferences::new(&name, store.describe(), workspace.as_str());
                let node = |k: &NodeKey| format!("{}:{}", k.label, k.id);
                told.note(&found.nodes, node);
                told.note(&found.edges, |k: &EdgeKey| format!("{} -{}-> {}", node(&k.from), k.kind, node(&k.to)));
                if repair && told.total() > 0 {
                    let sent = sink.repair(&context, &session, &workspace, found).await?;
                    told.repaired = sent.upserted + sent.deleted;
                }
                sinks.push(told);
            }
        }
    }
    let in_step = sinks.iter().all(|s| s.total() == 0 || repair);
    Ok(ReconcileReport { schema: SCHEMA.into(), pipeline: project.pipeline().name.value.clone(), in_step, sinks })
}

fn not_run(table: &str) -> lake::Error {
    lake::Error::new(ErrorKind::NotFound, format!("`{table}` does not exist")).with_hint("run the pipeline first")
}
