//! Gold: runs a table's SQL for each workspace whose inputs changed, and replaces that workspace's rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use futures::StreamExt;
use lake::pipeline::{CompiledGold, TableName};
use lake::report::{Strategy, TableReport, TableStatus};
use lake::table::{
    At, Change, Progress, SchemaChange, Scope, Snapshot, TableWriter, Watermarks, WriterOptions, conform, with_workspace,
};
use lake::{Error, ErrorKind, Result, WORKSPACE_COLUMN, query_error};

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
    gold: Snapshot,
    existed: bool,
    progress: Progress,
    names: Vec<String>,
}

impl Job<'_> {
    async fn run(&self) -> Result<TableReport> {
        let mut report = TableReport::new(self.table.name.to_string());
        let state = self.open().await?;
        report.version_from = state.existed.then(|| state.gold.version());
        report.version_to = Some(state.gold.version());
        let changed = self.changed_workspaces(&state).await?;
        let definition_changed =
            state.progress.in_scope(&self.context.scope, &state.names).definition != Some(self.table.fingerprint);
        if changed.is_empty() && !definition_changed {
            return Ok(report);
        }
        self.context.name(Some(changed.clone()));
        let schema = self.written_schema(&state)?;
        let mut writer = TableWriter::new(&state.gold, with_workspace(&schema), WriterOptions::of(self.context.lake.engine()));
        for workspace in &changed {
            report.rows_read += self.compute(&state, workspace, &mut writer).await?;
            writer.end_workspace().await?;
        }
        let gone = |w: Option<&str>| w.is_some_and(|w| changed.contains(w));
        let files = state.gold.files(&self.context.scope)?;
        let removes = files.into_iter().filter(|f| gone(f.workspace.as_deref())).map(|f| f.path).collect();
        report.rows_written = writer.rows();
        let adds = writer.finish().await?;
        report.files_written = adds.len() as u64;
        report.bytes_written = lake::table::bytes_of(&adds);
        let schema_change = (schema.fields() != without_workspace(state.gold.schema()).fields())
            .then(|| SchemaChange { schema: schema.as_ref().clone(), stats_columns: Some(stats_columns(&schema)) });
        let basis = self.context.scope.basis();
        let change = Change { adds, removes, transactions: self.transactions(&state), schema: schema_change, basis };
        let committed = state.gold.commit(change, Strategy::Replace, &self.context.run_id).await?;
        report.status = TableStatus::Written;
        report.strategy = Some(Strategy::Replace);
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
        let mut inputs = BTreeMap::new();
        for name in &self.table.inputs {
            let snapshot = lake.snapshot(name, At::Latest).await?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, format!("`{}` reads `{name}`, which does not exist", self.table.name))
                    .with_hint(format!("run it first: `lake run --select +{}`", self.table.name))
            })?;
            inputs.insert(name.clone(), snapshot);
        }
        let names = self.table.inputs.iter().map(ToString::to_string).collect();
        Ok(State { inputs: Arc::new(inputs), gold, existed, progress, names })
    }

    async fn create(&self) -> Result<Snapshot> {
        let schema = &self.table.schema;
        Snapshot::create(self.context.lake.root(), &self.table.name, schema, &stats_columns(schema), self.description).await
    }

    /// The workspaces in scope whose result may be another than the one in the table.
    async fn changed_workspaces(&self, state: &State) -> Result<BTreeSet<String>> {
        let scope = &self.context.scope;
        let mut changed = BTreeSet::new();
        for (name, input) in state.inputs.iter() {
            let files = input.files(scope)?;
            let all = || files.iter().filter_map(|f| f.workspace.clone());
            let marks = |workspace: &str| self.marks(state, workspace);
            let behind: Vec<String> = all().filter(|w| !marks(w).inputs.contains_key(&name.to_string())).collect();
            changed.extend(behind);
            let known = self.oldest_mark(state, name);
            let Some(oldest) = known else { continue };
            match input.changes_since(oldest).await? {
                None => {
                    changed.extend(all());
                    changed.extend(state.gold.files(scope)?.into_iter().filter_map(|f| f.workspace));
                }
                Some(commits) => {
                    for commit in &commits {
                        let touched = commit.added.iter().chain(&commit.removed).filter_map(|f| f.workspace.as_deref());
                        let newer = |w: &&str| {
                            scope.holds(Some(w)) && marks(w).inputs.get(&name.to_string()).is_none_or(|v| commit.version > *v)
                        };
                        changed.extend(touched.filter(newer).map(String::from));
                    }
                }
            }
        }
        if let Some(outdated) = self.outdated_definition(state)? {
            changed.extend(outdated);
        }
        Ok(changed)
    }

    fn marks(&self, state: &State, workspace: &str) -> Watermarks {
        match &self.context.scope {
            Scope::Feed => state.progress.of(workspace, &state.names),
            scope => state.progress.in_scope(scope, &state.names),
        }
    }

    fn oldest_mark(&self, state: &State, input: &TableName) -> Option<i64> {
        let name = input.to_string();
        let of_scope = state.progress.in_scope(&self.context.scope, &state.names).inputs.get(&name).copied();
        let own = state.progress.own_workspaces().filter_map(|w| state.progress.of(w, &state.names).inputs.get(&name).copied());
        match self.context.scope {
            Scope::Feed => own.chain(of_scope).min(),
            Scope::Workspace(_) => of_scope,
        }
    }

    /// All workspaces with rows, when the table was made by another definition or is to be rebuilt.
    fn outdated_definition(&self, state: &State) -> Result<Option<Vec<String>>> {
        let current = |w: &str| self.marks(state, w).definition == Some(self.table.fingerprint) && !self.context.full_refresh;
        let mut workspaces = BTreeSet::new();
        for snapshot in state.inputs.values().chain([&state.gold]) {
            workspaces.extend(snapshot.files(&self.context.scope)?.into_iter().filter_map(|f| f.workspace));
        }
        let outdated: Vec<_> = workspaces.into_iter().filter(|w| !current(w)).collect();
        Ok((!outdated.is_empty()).then_some(outdated))
    }

    /// Runs the query for one workspace; gives the number of rows it returned.
    async fn compute(&self, state: &State, workspace: &str, writer: &mut TableWriter) -> Result<u64> {
        let handle = self.context.lake.workspace(workspace)?.pinned(state.inputs.clone());
        let fail = |e| query_error(&format!("`{}` failed", self.table.name), e);
        let mut stream = handle.query(&self.table.sql).await?.execute_stream().await.map_err(fail)?;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            self.context.check_cancelled()?;
            let batch = batch.map_err(fail)?;
            rows += batch.num_rows() as u64;
            self.context.observer.advanced(
                &report_name(self.table),
                batch.num_rows() as u64,
                batch.get_array_memory_size() as u64,
            );
            writer.write(&own_rows(&batch, workspace, writer.schema())?).await?;
        }
        Ok(rows)
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

fn report_name(table: &CompiledGold) -> String {
    table.name.to_string()
}

/// Values of text columns stay out of the log.
fn stats_columns(schema: &SchemaRef) -> Vec<String> {
    crate::schema::stats_columns(schema, &[])
}

/// The query's rows as rows of `workspace`, whatever the query says of it.
fn own_rows(batch: &RecordBatch, workspace: &str, schema: &SchemaRef) -> Result<RecordBatch> {
    let internal = |e: arrow::error::ArrowError| Error::new(ErrorKind::Internal, "cannot write the query's rows").with_source(e);
    let index = schema.index_of(WORKSPACE_COLUMN).map_err(internal)?;
    let conformed = conform(batch, schema)?;
    let mut columns = conformed.columns().to_vec();
    columns[index] = Arc::new(StringArray::from(vec![workspace; batch.num_rows()]));
    debug_assert_eq!(schema.field(index).data_type(), &DataType::Utf8);
    RecordBatch::try_new(schema.clone(), columns).map_err(internal)
}
