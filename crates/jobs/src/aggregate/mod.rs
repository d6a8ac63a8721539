//! Gold: runs a table's SQL for the workspaces whose inputs changed. Of their rows it replaces those that the change touches, or all.

mod changed;
mod refresh;
mod seen;
mod unit;
mod work;

use arrow::datatypes::SchemaRef;
use lake::pipeline::CompiledGold;
use lake::report::{TableReport, TableStatus};
use lake::table::{At, Change, SchemaChange, Scope, Snapshot, TableWriter, Watermarks, WriterOptions, with_workspace};
use lake::{Error, ErrorKind, Result};

pub(crate) use self::seen::{Files, Seen};
pub(crate) use self::work::{MANY_WORKSPACES, Work};
use crate::context::JobContext;
use crate::plan::{Aggregation, Volume};
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

/// The table and what is known of it as one attempt sees them.
struct State {
    gold: Snapshot,
    seen: Seen,
}

impl Job<'_> {
    async fn run(&self) -> Result<TableReport> {
        let mut report = TableReport::new(self.table.name.to_string());
        let state = self.open().await?;
        report.version_from = state.seen.existed.then(|| state.gold.version());
        report.version_to = Some(state.gold.version());
        let changed = state.seen.changed(self.table, self.context.full_refresh).await?;
        if changed.is_empty() && state.seen.is_by(self.table) {
            return Ok(report);
        }
        self.context.name(Some(changed.workspaces()));
        let work = changed.parted(&state.seen);
        let aggregation = Aggregation { table: self.table, seen: &state.seen, engine: self.context.lake.engine() };
        report.plan = Some(aggregation.forecast(&work));
        let schema = self.written_schema(&state)?;
        let mut writer = TableWriter::new(&state.gold, with_workspace(&schema), WriterOptions::of(self.context.lake.engine()));
        let outcome = self.work(&state, work, &mut writer).await?;
        fill(&mut report, &state.seen, &outcome);
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
        // An input that is not there is told before anything is read.
        let seen = Seen { existed, ..Seen::open(lake, self.table, &self.context.scope, Some(&gold)).await? };
        if let Some(name) = self.table.inputs.iter().find(|name| !seen.inputs.contains_key(*name)) {
            let message = format!("`{}` reads `{name}`, which does not exist", self.table.name);
            return Err(Error::new(ErrorKind::NotFound, message)
                .with_hint(format!("run it first: `lake run --select +{}`", self.table.name)));
        }
        Ok(State { gold, seen })
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
        let inputs = state.seen.inputs.iter().map(|(n, s)| (n.to_string(), s.version())).collect();
        let marks = Watermarks { definition: Some(self.table.fingerprint), inputs };
        state.seen.progress.advance(&self.context.scope, &marks)
    }
}

fn fill(report: &mut TableReport, seen: &Seen, outcome: &work::Outcome) {
    report.rows_read = outcome.rows;
    report.rows_written = outcome.rows;
    (report.files_read, report.bytes_read, report.input_rows) = (outcome.read.files, outcome.read.bytes, outcome.read.rows);
    let gone: Volume = seen.gold_files.all().filter(|f| outcome.removes.contains(&f.path)).collect();
    (report.files_rewritten, report.bytes_rewritten, report.rows_rewritten) = (gone.files, gone.bytes, gone.rows);
}

/// Values of text columns stay out of the log.
fn stats_columns(schema: &SchemaRef) -> Vec<String> {
    crate::schema::stats_columns(schema, &[])
}
