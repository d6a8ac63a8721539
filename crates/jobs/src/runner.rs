//! One run of a pipeline: its tables in the order of what they read, then the report and the catalog's record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use lake::embed::Embedder;
use lake::graph::GraphStore;
use lake::pipeline::{CompiledGraph, CompiledSilver, CompiledVectors, TableName};
use lake::report::{ErrorReport, RUN_SCHEMA, RunReport, RunStatus, SinkReport, SinkStatus, TableReport, TableStatus};
use lake::table::{At, Footprint, Scope};
use lake::vectors::VectorStore;
use lake::{Error, ErrorKind, Lake, Result};
use lake_catalog::{ColumnRecord, RunRecord, TableLineage, TableRecord};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use tokio_util::sync::CancellationToken;

use crate::aggregate::aggregate;
use crate::context::{JobContext, Observer};
use crate::feed::Handover;
use crate::ingest::{ingest, ingest_program};
use crate::peak_memory::peak_memory;
use crate::prepare::{BronzeSource, Project};
use crate::refine::refine;
use crate::settled::remember;
use crate::sinks::{GraphSink, Sent, VectorSink};
use crate::vectors::vectorize;

/// What to run, and how.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Patterns such as `silver.posts+`; none means all tables.
    pub select: Vec<String>,
    /// Rebuild Silver and Gold from all of their input.
    pub full_refresh: bool,
    /// Told about progress.
    pub observer: Arc<dyn Observer>,
    /// Set it to stop the run after the row batch at hand.
    pub cancel: CancellationToken,
}

/// Runs a project. A table that fails is in the report, and so are those that were skipped because of it.
///
/// # Errors
/// [`ErrorKind::Config`] for a selection that names nothing.
pub async fn run(project: &Project, options: RunOptions) -> Result<RunReport> {
    let selected = selection(project, &options.select)?;
    let RunOptions { select, full_refresh, observer, cancel } = options;
    let context = JobContext {
        lake: project.lake.clone(),
        scope: project.scope.clone(),
        run_id: uuid::Uuid::now_v7().to_string(),
        started_at: Utc::now(),
        full_refresh,
        observer,
        cancel,
        readers: Arc::default(),
        handover: Handover::default(),
    };
    let clock = Instant::now();
    let run = Run { project, context };
    let tables = run.tables(&selected).await;
    let sinks = run.sinks(&tables).await;
    let report = run.report(tables, sinks, clock).await?;
    // The tables are what they are: neither a report that cannot be kept nor a catalog that does not answer makes the run another one.
    for left in [keep(&project.lake, &report).await, run.tell_catalog(&report).await] {
        if let Err(error) = left {
            tracing::warn!("{error}");
        }
    }
    if let Err(error) = remember(project, &select, &report).await {
        tracing::debug!(%error, "the next run with nothing to do opens all tables");
    }
    Ok(report)
}

/// Where the report of a run lies below the root of the lake.
pub fn report_path(run_id: &str) -> String {
    format!("_lake/runs/{run_id}/run.json")
}

/// Keeps the report of a run, on failure too.
pub(crate) async fn keep(lake: &Lake, report: &RunReport) -> Result<()> {
    let json = serde_json::to_vec_pretty(report)
        .map_err(|e| Error::new(ErrorKind::Internal, "the report cannot be written as JSON").with_source(e))?;
    let path = Path::from(report_path(&report.run_id));
    let fail = |e: object_store::Error| Error::new(ErrorKind::Storage, "cannot keep the report of the run").with_source(e);
    lake.root().store()?.put(&path, PutPayload::from(json)).await.map(|_| ()).map_err(fail)
}

fn selection(project: &Project, patterns: &[String]) -> Result<Vec<TableName>> {
    if patterns.is_empty() {
        return Ok(project.compiled.order.clone());
    }
    if patterns.iter().any(|p| p.trim().is_empty()) {
        return Err(Error::new(ErrorKind::Config, "a selection is empty")
            .with_hint("name tables, such as `--select silver.posts+`, or leave `--select` out to take all"));
    }
    let selected = project.compiled.select(patterns)?;
    Ok(project.compiled.order.iter().filter(|t| selected.contains(t)).cloned().collect())
}

struct Run<'a> {
    project: &'a Project,
    context: JobContext,
}

impl Run<'_> {
    /// The Silver tables among `selected` that read `name`.
    fn readers(&self, name: &TableName, selected: &[TableName]) -> Vec<CompiledSilver> {
        let silver = self.project.compiled.silver.values();
        silver.filter(|table| table.input == *name && selected.contains(&table.name)).cloned().collect()
    }

    async fn tables(&self, selected: &[TableName]) -> Vec<TableReport> {
        let mut reports = vec![];
        let mut broken: BTreeSet<TableName> = BTreeSet::new();
        for name in selected {
            let report = match self.reason_to_skip(name, &broken) {
                Some(reason) => skipped(name, reason),
                None => self.table(name, self.readers(name, selected)).await,
            };
            if matches!(report.status, TableStatus::Failed | TableStatus::Skipped) {
                broken.insert(name.clone());
            }
            self.context.observer.finished(&report);
            reports.push(report);
        }
        reports
    }

    fn reason_to_skip(&self, name: &TableName, broken: &BTreeSet<TableName>) -> Option<String> {
        if self.context.cancel.is_cancelled() {
            return Some("the run was stopped before".to_string());
        }
        let input = self.project.compiled.inputs(name).into_iter().find(|i| broken.contains(i))?;
        Some(format!("`{input}`, which it reads, did not succeed"))
    }

    #[tracing::instrument(skip_all, fields(run_id = %self.context.run_id, table = %name))]
    async fn table(&self, name: &TableName, readers: Vec<CompiledSilver>) -> TableReport {
        let clock = Instant::now();
        let footprint = Footprint::of(self.context.scope.clone());
        let (lake, readers) = (self.context.lake.noted(&footprint), Arc::new(readers));
        let done = self.job(name, &JobContext { lake, readers, ..self.context.clone() }).await;
        let mut report = match done {
            Ok(report) => report,
            Err(error) => self.failed(name, &error).await,
        };
        report.seconds = clock.elapsed().as_secs_f64();
        if report.status != TableStatus::Unchanged {
            report.peak_memory_bytes = peak_memory();
        }
        (report.partitions_read, report.partitions_written) = (footprint.read(), footprint.written());
        tracing::info!(status = ?report.status, rows_in = report.rows_read, rows_out = report.rows_written, "table done");
        report
    }

    async fn job(&self, name: &TableName, context: &JobContext) -> Result<TableReport> {
        let compiled = &self.project.compiled;
        if let Some(source) = self.project.bronze.get(name) {
            return match source {
                BronzeSource::Files(intake) => ingest(context, intake).await,
                BronzeSource::Program(intake) => ingest_program(context, intake).await,
            };
        }
        let description = self.project.description(name);
        if let Some(table) = compiled.silver.get(name) {
            return refine(context, table, description.as_deref()).await;
        }
        if let Some((table, sinks)) = compiled.vectors.get(name).zip(self.project.sinks.as_ref()) {
            return vectorize(context, table, &sinks.embedder, description.as_deref()).await;
        }
        match compiled.by_query(name) {
            Some(table) => aggregate(context, table, description.as_deref()).await,
            None => Err(Error::new(ErrorKind::Internal, format!("nothing builds `{name}`"))),
        }
    }

    async fn failed(&self, name: &TableName, error: &Error) -> TableReport {
        let mut report = TableReport::new(name.to_string());
        report.status = if error.kind() == ErrorKind::Cancelled { TableStatus::Skipped } else { TableStatus::Failed };
        report.error = Some(ErrorReport { message: error.to_string(), hint: error.hint().map(String::from) });
        let version = self.context.lake.snapshot(name, At::Latest).await.ok().flatten().map(|s| s.version());
        (report.version_from, report.version_to) = (version, version);
        tracing::debug!(table = %name, error = ?error, "table failed");
        report
    }

    /// Brings the stores up to date with the tables of vectors, nodes and edges that are.
    async fn sinks(&self, tables: &[TableReport]) -> Vec<SinkReport> {
        let done = |name: &TableName| {
            let of = |t: &&TableReport| t.table == name.to_string();
            tables.iter().find(of).filter(|t| matches!(t.status, TableStatus::Written | TableStatus::Unchanged))
        };
        let Some(sinks) = &self.project.sinks else { return vec![] };
        let compiled = &self.project.compiled;
        let mut reports = vec![];
        for (name, table) in &compiled.vectors {
            let Some(report) = done(name) else { continue };
            let clock = Instant::now();
            let outcome = match &sinks.vectors {
                None => self.vectors_in_tables(table, report).await,
                Some(store) => self.vectors_in(table, sinks.embedder.as_ref(), store.as_ref()).await,
            };
            let store = sinks.vectors.as_ref().map(|s| s.describe());
            reports.push(sink_report(name.to_string(), store, outcome, clock));
        }
        if let Some(graph) = &compiled.property_graph {
            let all: Option<Vec<_>> = std::iter::once(&graph.nodes).chain(&graph.edges).map(|t| done(&t.name)).collect();
            if let Some(all) = all {
                let clock = Instant::now();
                let kept = match all.iter().any(|t| t.status == TableStatus::Written) {
                    true => {
                        let edges = graph.edges.as_ref().map(|e| &e.name);
                        graph.graph.keep(&self.context.lake, &graph.nodes.name, edges, &graph.nodes.inputs).await
                    }
                    false => Ok(()),
                };
                let outcome = match (&sinks.graph, kept) {
                    (_, Err(error)) => Err(error),
                    (None, _) => self.graph_in_tables(graph, &all).await,
                    (Some(store), _) => self.graph_in(graph, store.as_ref()).await,
                };
                let store = sinks.graph.as_ref().map(|s| s.describe());
                reports.push(sink_report(format!("graph.{}", graph.graph.name), store, outcome, clock));
            }
        }
        reports
    }

    async fn vectors_in_tables(&self, table: &CompiledVectors, report: &TableReport) -> Result<(Sent, Option<i64>)> {
        let names = [table.input.to_string()];
        let progress = match self.context.lake.snapshot(&table.name, At::Latest).await? {
            Some(snapshot) => snapshot.progress().await?,
            None => return Ok((Sent::default(), None)),
        };
        let version = progress.in_scope(&self.context.scope, &names).inputs.values().copied().min();
        Ok((Sent { upserted: report.rows_written, deleted: report.rows_deleted }, version))
    }

    async fn vectors_in(
        &self,
        table: &CompiledVectors,
        embedder: &dyn Embedder,
        store: &dyn VectorStore,
    ) -> Result<(Sent, Option<i64>)> {
        self.context.check_cancelled()?;
        let sink = VectorSink::new(&self.context.lake, table, embedder, store).await?;
        let sent = sink.sync(&self.context).await?;
        Ok((sent, sink.source_version(&self.context.scope).await?))
    }

    async fn graph_in_tables(&self, graph: &CompiledGraph, reports: &[&TableReport]) -> Result<(Sent, Option<i64>)> {
        let names: Vec<String> = graph.nodes.inputs.iter().map(ToString::to_string).collect();
        let progress = match self.context.lake.snapshot(&graph.nodes.name, At::Latest).await? {
            Some(snapshot) => snapshot.progress().await?,
            None => return Ok((Sent::default(), None)),
        };
        let version = progress.in_scope(&self.context.scope, &names).inputs.values().copied().min();
        let upserted = reports.iter().map(|r| r.rows_written).sum();
        Ok((Sent { upserted, deleted: 0 }, version))
    }

    async fn graph_in(&self, graph: &CompiledGraph, store: &dyn GraphStore) -> Result<(Sent, Option<i64>)> {
        self.context.check_cancelled()?;
        let sink = GraphSink::new(&self.context.lake, graph, store);
        let sent = sink.sync(&self.context).await?;
        Ok((sent, sink.source_version(&self.context.scope).await?))
    }

    async fn report(&self, tables: Vec<TableReport>, sinks: Vec<SinkReport>, clock: Instant) -> Result<RunReport> {
        let behind = sinks.iter().any(|s| s.status == SinkStatus::Behind);
        let failed = behind || tables.iter().any(|t| t.status == TableStatus::Failed);
        let status = match (self.context.cancel.is_cancelled(), failed) {
            (true, _) => RunStatus::Interrupted,
            (false, true) => RunStatus::Failed,
            (false, false) => RunStatus::Succeeded,
        };
        Ok(RunReport {
            schema: RUN_SCHEMA.to_string(),
            run_id: self.context.run_id.clone(),
            pipeline: self.project.pipeline().name.value.clone(),
            status,
            started_at: self.context.started_at,
            seconds: clock.elapsed().as_secs_f64(),
            peak_memory_bytes: peak_memory(),
            workspaces: self.workspaces(&tables).await,
            tables,
            sinks,
        })
    }

    /// The workspaces of the run: its own, or all that have rows in the tables it built.
    async fn workspaces(&self, tables: &[TableReport]) -> Vec<String> {
        if let Scope::Workspace(own) = &self.context.scope {
            return vec![own.to_string()];
        }
        let mut found = BTreeSet::new();
        for name in tables.iter().filter_map(|t| t.table.parse::<TableName>().ok()) {
            let snapshot = self.context.lake.snapshot(&name, At::Latest).await.ok().flatten();
            let files = snapshot.and_then(|s| s.files(&self.context.scope).ok()).unwrap_or_default();
            found.extend(files.into_iter().filter_map(|f| f.workspace));
        }
        found.into_iter().collect()
    }

    /// Tables that changed and their lineage. A run that wrote nothing leaves the catalog as it is.
    async fn tell_catalog(&self, report: &RunReport) -> Result<()> {
        let written: Vec<_> = report.tables.iter().filter(|t| t.status == TableStatus::Written).collect();
        if written.is_empty() {
            return Ok(());
        }
        let mut records = vec![];
        let mut lineage: Vec<TableLineage> = vec![];
        for table in written {
            let Ok(name) = table.table.parse::<TableName>() else { continue };
            records.extend(self.record(&name).await?);
            lineage.extend(self.lineage(&name, table.version_to));
        }
        let run = RunRecord {
            run_id: report.run_id.clone(),
            pipeline: report.pipeline.clone(),
            status: match report.status {
                RunStatus::Succeeded => lake_catalog::RunStatus::Succeeded,
                RunStatus::Failed => lake_catalog::RunStatus::Failed,
                RunStatus::Interrupted => lake_catalog::RunStatus::Interrupted,
            },
            started_at: report.started_at,
            finished_at: Utc::now(),
            lineage,
            report: serde_json::to_value(report).unwrap_or_default(),
        };
        let catalog = &self.project.catalog;
        let told = async {
            catalog.register_tables(&records).await?;
            catalog.record_run(&run).await
        };
        told.await.map_err(|e| catalog_error(&e))
    }

    async fn record(&self, name: &TableName) -> Result<Option<TableRecord>> {
        let Some(snapshot) = self.context.lake.snapshot(name, At::Latest).await? else { return Ok(None) };
        let columns = snapshot.schema().fields().iter().map(|f| ColumnRecord {
            name: f.name().clone(),
            data_type: f.data_type().to_string(),
            nullable: f.is_nullable(),
            description: None,
        });
        let compiled = self.project.compiled.silver.get(name);
        Ok(Some(TableRecord {
            name: name.to_string(),
            layer: name.layer.to_string(),
            location: snapshot.delta().table_url().to_string(),
            columns: columns.collect(),
            description: self.project.description(name),
            key: compiled
                .map(|c| c.key.iter().filter_map(|i| c.columns.get(*i)).map(|c| c.name.clone()).collect())
                .unwrap_or_default(),
            partition_columns: vec![lake::WORKSPACE_COLUMN.to_string()],
            version: Some(snapshot.version()),
        }))
    }

    fn lineage(&self, name: &TableName, version: Option<i64>) -> Option<TableLineage> {
        let lineage = crate::lineage::of_table(self.project, name)?;
        Some(TableLineage { run_id: Some(self.context.run_id.clone()), version, ..lineage })
    }
}

fn sink_report(sink: String, store: Option<String>, outcome: Result<(Sent, Option<i64>)>, clock: Instant) -> SinkReport {
    let (status, (sent, source_version), error) = match outcome {
        Ok(done) => (SinkStatus::InStep, done, None),
        Err(error) => {
            tracing::debug!(%sink, ?error, "sink is behind");
            let report = ErrorReport { message: error.to_string(), hint: error.hint().map(String::from) };
            (SinkStatus::Behind, (Sent::default(), None), Some(report))
        }
    };
    let (upserted, deleted, seconds) = (sent.upserted, sent.deleted, clock.elapsed().as_secs_f64());
    let store = store.unwrap_or_else(|| "tables".to_owned());
    SinkReport { sink, store, status, upserted, deleted, source_version, seconds, error }
}

fn skipped(name: &TableName, reason: String) -> TableReport {
    let mut report = TableReport::new(name.to_string());
    report.status = TableStatus::Skipped;
    report.error = Some(ErrorReport { message: reason, hint: None });
    report
}

/// This crate's error for one of the catalog's.
pub(crate) fn catalog_error(error: &lake_catalog::Error) -> Error {
    let ours = Error::new(ErrorKind::Storage, format!("the tables are done, but the catalog was not told: {error}"));
    match error.hint() {
        Some(hint) => ours.with_hint(hint),
        None => ours,
    }
}

impl Project {
    /// The lake it runs on.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// What the pipeline says a table is.
    pub fn description(&self, name: &TableName) -> Option<String> {
        let pipeline = self.pipeline();
        let bronze = pipeline.bronze.iter().map(|t| (&t.name.value, &t.description));
        let silver = pipeline.silver.iter().map(|t| (&t.name.value, &t.description));
        let gold = pipeline.gold.iter().map(|t| (&t.name.value, &t.description));
        let vectors = pipeline.vectors.iter().map(|t| (&t.name.value, &t.description));
        bronze.chain(silver).chain(gold).chain(vectors).find(|(n, _)| *n == name).and_then(|(_, d)| d.clone())
    }
}
