//! Runs that left nothing to do are remembered, so that the same run over the same files and tables is answered without opening one of them.

use std::fmt::Write as _;

use chrono::Utc;
use futures::StreamExt;
use lake::pipeline::{BronzeTable, Pipeline, TableName};
use lake::report::{RunReport, RunStatus, SinkReport, TableReport, TableStatus};
use lake::table::Newest;
use lake::{Lake, Result, WorkspaceId};
use lake_catalog::Catalog;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::context::Observer;
use crate::ingest::format::Format;
use crate::ingest::source::{self, SourceFile};
use crate::peak_memory::peak_memory;
use crate::prepare::{BronzeSource, PrepareRequest, Project};
use crate::runner::keep;
use crate::sinks::Sinks;

/// The method whose input is known before it runs.
const FILES: &str = "file_ingest";

/// How many tables are looked at a time.
const CONCURRENT_LOOKS: usize = 16;

/// What was asked of a run, and what it found: the same run has nothing to do while both are the same and no table has a later commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// Where the answer lies: one for each pipeline, workspace and selection.
    name: String,
    /// A hash of the pipeline with the values of its variables, the catalog's methods and ontology, the program, and the files there are.
    asked: String,
}

/// A run that left nothing to do.
#[derive(Debug, Serialize, Deserialize)]
struct Settled {
    asked: String,
    /// The newest commit of each table.
    tables: Vec<(String, Newest)>,
    workspaces: Vec<String>,
    #[serde(default)]
    sinks: Vec<SinkReport>,
}

/// The report of a run that has nothing to do, if that can be told by what an earlier one left; it is kept as that of any other run.
pub async fn recall(request: &PrepareRequest<'_>, select: &[String], observer: &dyn Observer) -> Option<RunReport> {
    let clock = std::time::Instant::now();
    let started_at = Utc::now();
    let text = std::fs::read_to_string(request.path).ok()?;
    let pipeline = Pipeline::parse(request.path, text, request.lookup).ok()?;
    let question = ask(request, &pipeline, select).await?;
    let store = request.lake.root().store().ok()?;
    let bytes = store.get(&question.place()).await.ok()?.bytes().await.ok()?;
    let settled: Settled = serde_json::from_slice(&bytes).ok()?;
    if settled.asked != question.asked || !still(request.lake, &settled.tables).await {
        return None;
    }
    let mut report = RunReport {
        schema: lake::report::RUN_SCHEMA.to_owned(),
        run_id: uuid::Uuid::now_v7().to_string(),
        pipeline: pipeline.name.value.clone(),
        status: RunStatus::Succeeded,
        started_at,
        seconds: 0.0,
        peak_memory_bytes: peak_memory(),
        workspaces: settled.workspaces,
        tables: settled.tables.iter().map(|(name, newest)| unchanged(name, newest.version)).collect(),
        sinks: settled.sinks,
    };
    report.tables.iter().for_each(|table| observer.finished(table));
    report.seconds = clock.elapsed().as_secs_f64();
    if let Err(error) = keep(request.lake, &report).await {
        tracing::warn!("{error}");
    }
    Some(report)
}

fn unchanged(name: &str, version: i64) -> TableReport {
    TableReport { version_from: Some(version), version_to: Some(version), ..TableReport::new(name) }
}

/// Whether each commit is still the newest of its table.
async fn still(lake: &Lake, tables: &[(String, Newest)]) -> bool {
    let looks = futures::stream::iter(tables.iter().cloned()).map(|(name, known)| async move {
        let name = name.parse::<TableName>().ok()?;
        let now = Newest::at(lake, &name, known.version).await.ok()??;
        (now == known).then_some(())
    });
    looks.buffer_unordered(CONCURRENT_LOOKS).all(|same| async move { same.is_some() }).await
}

/// What `request` asks for; `None` when what its programs bring is known after they ran only, or something cannot be read.
async fn ask(request: &PrepareRequest<'_>, pipeline: &Pipeline, select: &[String]) -> Option<Question> {
    let mut files = Sha256::new();
    for table in &pipeline.bronze {
        let (pattern, format) = files_of(table)?;
        let store = source::connect(pattern, request.lake).ok()?;
        for file in store.list(pattern, format).await.ok()? {
            note(&mut files, table, &file);
        }
    }
    let sinks = Sinks::of(pipeline, request.lookup).ok()?;
    Question::new(request.catalog.as_ref(), pipeline, request.workspace.as_ref(), select, &hex(files), sinks.as_ref()).await.ok()
}

/// Takes a file of a table into the hash of all files.
fn note(files: &mut Sha256, table: &BronzeTable, file: &SourceFile) {
    files.update(format!("{}\n{}\n{}\n", table.name.value, file.path, file.fingerprint));
}

/// The pattern and the format of a table's files.
fn files_of(table: &BronzeTable) -> Option<(&str, Option<Format>)> {
    let input = |name: &str| table.inputs.iter().find(|i| i.name.value == name).map(|i| &i.value.value);
    let format = match input("format").and_then(Value::as_str) {
        Some(format) => Some(format.parse().ok()?),
        None => None,
    };
    let pattern = input("path").and_then(Value::as_str)?;
    (table.method.value == FILES).then_some((pattern, format))
}

impl Question {
    async fn new(
        catalog: &dyn Catalog,
        pipeline: &Pipeline,
        workspace: Option<&WorkspaceId>,
        select: &[String],
        files: &str,
        sinks: Option<&Sinks>,
    ) -> Result<Self, lake_catalog::Error> {
        let version = pipeline.ontology.as_ref().map(|v| v.value.as_str());
        let (ontology, methods) = (catalog.get_ontology(version).await?, catalog.list_methods(None).await?);
        let name = format!("{:?}", (&pipeline.name.value, &pipeline.source.path, workspace, select));
        let asked = format!("{:?}", (program(), pipeline, ontology, methods, files, sinks));
        let hash = |text: &str| hex(Sha256::new_with_prefix(text));
        Ok(Self { name: hash(&name), asked: hash(&asked) })
    }

    fn place(&self) -> Path {
        Path::from(format!("_lake/settled/{}.json", self.name))
    }
}

/// Which program this is: another one may make other rows.
fn program() -> Option<(u64, Option<std::time::SystemTime>)> {
    let file = std::env::current_exe().ok()?.metadata().ok()?;
    Some((file.len(), file.modified().ok()))
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Remembers the run of `report`, if the same run would have nothing to do now.
///
/// # Errors
/// Those of the store: the next run then does its work once more.
pub(crate) async fn remember(project: &Project, select: &[String], report: &RunReport) -> Result<()> {
    let Some(question) = question_of(project, select, report).await else { return Ok(()) };
    let mut tables = vec![];
    for table in &report.tables {
        let (Ok(name), Some(version)) = (table.table.parse::<TableName>(), table.version_to) else { return Ok(()) };
        let Some(newest) = Newest::at(&project.lake, &name, version).await? else { return Ok(()) };
        tables.push((table.table.clone(), newest));
    }
    let nothing_sent = |s: &SinkReport| SinkReport { upserted: 0, deleted: 0, seconds: 0.0, ..s.clone() };
    let sinks = report.sinks.iter().map(nothing_sent).collect();
    let settled = Settled { asked: question.asked.clone(), tables, workspaces: report.workspaces.clone(), sinks };
    let Ok(json) = serde_json::to_vec_pretty(&settled) else { return Ok(()) };
    let store = project.lake.root().store()?;
    let kept = store.put(&question.place(), PutPayload::from(json)).await;
    kept.map(|_| ()).map_err(|e| lake::Error::new(lake::ErrorKind::Storage, "cannot remember the run").with_source(e))
}

/// What the run of `project` was asked, when all of its tables are as its report says, and nothing else decides what they hold.
async fn question_of(project: &Project, select: &[String], report: &RunReport) -> Option<Question> {
    let done = |t: &TableReport| matches!(t.status, TableStatus::Written | TableStatus::Unchanged);
    if report.status != RunStatus::Succeeded || !report.tables.iter().all(done) || !project.warnings.is_empty() {
        return None;
    }
    let reported: Vec<TableName> = report.tables.iter().filter_map(|t| t.table.parse().ok()).collect();
    let alone = reported.iter().all(|name| project.compiled.inputs(name).iter().all(|input| reported.contains(input)));
    if !alone {
        return None;
    }
    let pipeline = project.pipeline();
    let mut files = Sha256::new();
    for table in &pipeline.bronze {
        let Some(BronzeSource::Files(intake)) = project.bronze.get(&table.name.value) else { return None };
        for file in &intake.files {
            note(&mut files, table, file);
        }
    }
    let workspace = project.named_workspace.as_ref();
    Question::new(project.catalog.as_ref(), pipeline, workspace, select, &hex(files), project.sinks.as_ref()).await.ok()
}
