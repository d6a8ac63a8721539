//! Gold: runs a table's SQL for the workspaces whose inputs changed. Of their rows it replaces those that the change touches, or all.

mod changed;
mod refresh;
mod unit;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use lake::pipeline::{CompiledGold, TableName};
use lake::report::{TableReport, TableStatus};
use lake::table::{
    At, Change, DataFile, Progress, SchemaChange, Scope, Snapshot, TableWriter, Watermarks, WriterOptions, with_workspace,
};
use lake::{Error, ErrorKind, Result};

use crate::context::JobContext;
use crate::schema::without_workspace;

/// Brings one Gold table up to date.
///
/// # Errors
/// Those of the query and of storage; the table is then as it was.
pub async fn aggregate(context: &JobContext, table: &CompiledGold, description: Option<&str>) -> Result<TableReport> {
    let job = Job { context, table, description };
    context.until_committed(&table.name, || job.run()).await
}

struct Job<'a> {
    context: &'a JobContext,
    table: &'a CompiledGold,
    description: Option<&'a str>,
}

/// The inputs and the table as one attempt sees them.
struct State {
    inputs: Arc<BTreeMap<TableName, Snapshot>>,
    input_files: BTreeMap<TableName, Files>,
    gold: Snapshot,
    gold_files: Files,
    existed: bool,
    progress: Progress,
    names: Vec<String>,
}

/// The files in scope of one table by their workspaces: a table of very many is gone through once.
#[derive(Debug, Default)]
struct Files(BTreeMap<String, Vec<DataFile>>);

impl Files {
    fn of(table: &Snapshot, scope: &Scope) -> Result<Self> {
        let mut files: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
        for mut file in table.files(scope)? {
            if let Some(workspace) = file.workspace.clone() {
                // Of very many files these are most of what they take, and nobody here reads them.
                file.stats = None;
                files.entry(workspace).or_default().push(file);
            }
        }
        Ok(Self(files))
    }

    fn workspaces(&self) -> impl Iterator<Item = String> + '_ {
        self.0.keys().cloned()
    }

    fn bytes(&self, workspaces: &BTreeSet<String>) -> u64 {
        self.of_workspaces(workspaces).map(|f| f.size).sum()
    }

    fn of_workspaces<'f>(&'f self, workspaces: &'f BTreeSet<String>) -> impl Iterator<Item = &'f DataFile> {
        workspaces.iter().filter_map(|w| self.0.get(w)).flatten()
    }
}

impl Job<'_> {
    async fn run(&self) -> Result<TableReport> {
        let mut report = TableReport::new(self.table.name.to_string());
        let state = self.open().await?;
        report.version_from = state.existed.then(|| state.gold.version());
        report.version_to = Some(state.gold.version());
        let changed = self.changed(&state).await?;
        let definition_changed =
            state.progress.in_scope(&self.context.scope, &state.names).definition != Some(self.table.fingerprint);
        if changed.0.is_empty() && !definition_changed {
            return Ok(report);
        }
        self.context.name(Some(changed.workspaces()));
        let schema = self.written_schema(&state)?;
        let mut writer = TableWriter::new(&state.gold, with_workspace(&schema), WriterOptions::of(self.context.lake.engine()));
        let outcome = self.work(&state, changed, &mut writer).await?;
        report.rows_read = outcome.rows;
        report.rows_written = outcome.rows;
        let (strategy, reason) = (outcome.strategy(), outcome.reason());
        let removes = outcome.removes;
        let adds = writer.finish().await?;
        report.files_written = adds.len() as u64;
        report.bytes_written = lake::table::bytes_of(&adds);
        let schema_change = (schema.fields() != without_workspace(state.gold.schema()).fields())
            .then(|| SchemaChange { schema: schema.as_ref().clone(), stats_columns: Some(stats_columns(&schema)) });
        let basis = self.context.scope.basis();
        let change =
            Change { adds, removes, transactions: self.transactions(&state), schema: schema_change, basis, ..Default::default() };
        let committed = state.gold.commit(change, strategy, &self.context.run_id).await?;
        report.status = TableStatus::Written;
        report.strategy = Some(strategy);
        report.reason = reason;
        report.version_to = Some(committed.version);
        report.commits_resent = committed.resent;
        Ok(report)
    }

    async fn open(&self) -> Result<State> {
        let lake = &self.context.lake;
        let existing = lake.snapshot(&self.table.name, At::Latest).await?;
        let existed = existing.is_some();
        let gold = match existing {
            Some(gold) => gold,
            None => self.create().await?,
        };
        let progress = gold.progress().await?;
        // The inputs are opened after the progress was read, so that none is older than a watermark.
        let (mut inputs, mut input_files) = (BTreeMap::new(), BTreeMap::new());
        for name in &self.table.inputs {
            let snapshot = lake.snapshot(name, At::Latest).await?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("`{}` reads `{name}`, which does not exist", self.table.name))
                    .with_hint(format!("run it first: `lake run --select +{}`", self.table.name))
            })?;
            input_files.insert(name.clone(), Files::of(&snapshot, &self.context.scope)?);
            inputs.insert(name.clone(), snapshot);
        }
        let names = self.table.inputs.iter().map(ToString::to_string).collect();
        let gold_files = Files::of(&gold, &self.context.scope)?;
        Ok(State { inputs: Arc::new(inputs), input_files, gold, gold_files, existed, progress, names })
    }

    async fn create(&self) -> Result<Snapshot> {
        let schema = &self.table.schema;
        Snapshot::create(self.context.lake.root(), &self.table.name, schema, &stats_columns(schema), self.description).await
    }

    /// The columns the table has after this run. While other workspaces keep rows of an older definition, their columns stay.
    fn written_schema(&self, state: &State) -> Result<SchemaRef> {
        let old = without_workspace(state.gold.schema());
        let new = &self.table.schema;
        let others = state.gold.files(&Scope::Feed)?.into_iter().any(|f| !self.context.scope.holds(f.workspace.as_deref()));
        if !others {
            return Ok(new.clone());
        }
        crate::schema::widened(&self.table.name, &old, new)
    }

    fn transactions(&self, state: &State) -> Vec<deltalake::kernel::Transaction> {
        let inputs = state.inputs.iter().map(|(n, s)| (n.to_string(), s.version())).collect();
        let marks = Watermarks { definition: Some(self.table.fingerprint), inputs };
        state.progress.advance(&self.context.scope, &marks)
    }
}

/// Values of text columns stay out of the log.
fn stats_columns(schema: &SchemaRef) -> Vec<String> {
    crate::schema::stats_columns(schema, &[])
}
