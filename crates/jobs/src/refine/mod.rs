//! Silver: judges the Bronze rows that came since the watermark, quarantines those that fail, and merges the rest by key.

mod input;
mod judged;

use std::collections::HashSet;

use arrow::datatypes::SchemaRef;
use lake::merge::{MergeOutcome, MergeSpec, merge, merge_candidates};
use lake::pipeline::{CompiledSilver, TableName};
use lake::report::{Strategy, TableReport, TableStatus};
use lake::spool::Spool;
use lake::table::{
    At, Change, Committed, Progress, SchemaChange, Scope, Snapshot, TableWriter, Watermarks, WriterOptions, conform,
    with_workspace,
};
use lake::verdict::{Judge, RowRules, Tally};
use lake::{Error, ErrorKind, Result};

use crate::beside::Beside;
use crate::context::JobContext;
use crate::feed::Fed;
use crate::plan::{Refinement, Volume};
pub(crate) use crate::refine::input::{Input, Sought};
use crate::refine::judged::JudgedRows;
use crate::schema::{stats_columns, widened, without_workspace};

/// Brings one Silver table up to date, with its quarantine and tombstones.
///
/// # Errors
/// Those of storage; [`ErrorKind::Data`] when an expectation that must hold does not. The table is then as it was.
pub async fn refine(context: &JobContext, table: &CompiledSilver, description: Option<&str>) -> Result<TableReport> {
    context.until_committed(&table.name, || async { Job::open(context, table, description).await?.run().await }).await
}

struct Job<'a> {
    context: &'a JobContext,
    table: &'a CompiledSilver,
    rules: RowRules,
    spec: Option<MergeSpec>,
    table_schema: SchemaRef,
    quarantine_schema: SchemaRef,
    bronze: Snapshot,
    silver: Snapshot,
    existed: bool,
    progress: Progress,
}

impl<'a> Job<'a> {
    async fn open(context: &'a JobContext, table: &'a CompiledSilver, description: Option<&str>) -> Result<Job<'a>> {
        let lake = &context.lake;
        let rules = RowRules::from(table);
        let judge = Judge::new(&lake.engine().session(), rules.clone())?;
        let existing = lake.snapshot(&table.name, At::Latest).await?;
        let existed = existing.is_some();
        let spec = judge.merge_spec();
        let table_schema = judge.table_schema().clone();
        let silver = match existing {
            Some(silver) => silver,
            None => {
                let stats = stats_columns(&table_schema, spec.as_ref().map_or(&[], |s| &s.key));
                Snapshot::create(lake.root(), &table.name, &table_schema, &stats, description).await?
            }
        };
        let progress = silver.progress().await?;
        let quarantine_schema = judge.quarantine_schema().clone();
        // The input is opened after the progress was read, so that it is never older than a watermark.
        let bronze = lake.snapshot(&table.input, At::Latest).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("`{}` reads `{}`, which does not exist", table.name, table.input))
                .with_hint(format!("run it first: `lake run --select +{}`", table.name))
        })?;
        Ok(Self { context, table, rules, spec, table_schema, quarantine_schema, bronze, silver, existed, progress })
    }

    async fn run(&self) -> Result<TableReport> {
        let mut report = TableReport::new(self.table.name.to_string());
        report.version_from = self.existed.then(|| self.silver.version());
        report.version_to = Some(self.silver.version());
        let mut quarantine = Beside::open(&self.context.lake, self.table.name.quarantine(), self.quarantine_text()).await?;
        let tombstones = Beside::open(&self.context.lake, self.table.name.tombstones(), self.tombstones_text()).await?;
        let input = Input::find(&self.sought(), &quarantine.progress()).await?;
        if input.is_up_to_date() {
            return Ok(report);
        }
        if input.rebuild {
            tracing::info!(table = %self.name(), reason = input.why, "building the table from all of its input");
        }
        report.plan = Some(self.refinement().forecast(&input, None)?);
        let of_batch = || input.files.iter().filter_map(|f| f.workspace.clone()).collect();
        self.context.name((!input.rebuild).then(of_batch));
        report.files_read = input.files.len() as u64;
        report.bytes_read = input.files.iter().map(|f| f.size).sum();
        self.context.observer.started(&report.table, Some(report.bytes_read));
        if input.rebuild {
            quarantine.replace_columns_unless_shared(&self.context.scope)?;
        }
        let (tally, quarantine, outcome) = match self.fed(&input) {
            Some(fed) => {
                self.note_taken_over(&input);
                self.absorb_fed(fed, quarantine, &tombstones).await?
            }
            None => {
                let rows = JudgedRows::start(self, &input, quarantine).await?;
                let outcome = self.absorb(&rows, &tombstones, &input).await?;
                let (tally, quarantine) = rows.finish().await?;
                (tally, quarantine, outcome)
            }
        };
        self.check_fatal(&tally)?;
        self.commit_beside(quarantine, &input).await?;
        self.commit_tombstones(tombstones, &outcome, &input).await?;
        fill(&mut report, &tally, &outcome);
        self.note_rewritten(&mut report, &outcome)?;
        let committed = self.commit(outcome, &input).await?;
        report.status = TableStatus::Written;
        report.version_to = Some(committed.version);
        report.commits_resent = committed.resent;
        Ok(report)
    }

    fn sought(&self) -> Sought<'_> {
        let Self { table, bronze, progress, context, .. } = self;
        Sought { table, bronze, progress, scope: &context.scope, full_refresh: context.full_refresh }
    }

    fn refinement(&self) -> Refinement<'_> {
        let (scope, engine) = (&self.context.scope, self.context.lake.engine());
        Refinement { table: self.table, silver: Some(&self.silver), existed: self.existed, scope, engine }
    }

    fn note_rewritten(&self, report: &mut TableReport, outcome: &MergeOutcome) -> Result<()> {
        if !outcome.removes.is_empty() {
            let files = self.silver.files(&self.context.scope)?;
            let stays = |path: &str| outcome.marked.iter().any(|add| add.path == path);
            let gone: Volume = files.iter().filter(|f| outcome.removes.contains(&f.path) && !stays(f.path.as_ref())).collect();
            (report.files_rewritten, report.bytes_rewritten, report.rows_rewritten) = (gone.files, gone.bytes, gone.rows);
        }
        Ok(())
    }

    /// What ingestion has handed over, when that is the whole input.
    fn fed(&self, input: &Input) -> Option<Fed> {
        let fed = self.context.handover.take(&self.table.name)?;
        let whole = !input.rebuild && !input.quarantined_before.contains(&true) && fed.is_of(&input.files);
        tracing::debug!(table = %self.name(), whole, "rows were handed over");
        Some(fed).filter(|_| whole)
    }

    /// Rows that were handed over count as read: they must be of the job's workspaces too.
    fn note_taken_over(&self, input: &Input) {
        if let Some(footprint) = self.context.lake.footprint() {
            input.files.iter().for_each(|file| footprint.took_over(&self.table.input, &file.path));
        }
    }

    /// Merges rows that were judged while they were written.
    async fn absorb_fed(&self, fed: Fed, mut quarantine: Beside, tombstones: &Beside) -> Result<(Tally, Beside, MergeOutcome)> {
        let spec = self.spec.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "a table without a key was fed"))?;
        for batch in fed.quarantined.batches() {
            quarantine.write(&batch?).await?;
        }
        let tombstones = tombstones.snapshot().filter(|_| self.rules.delete_when.is_some());
        let (engine, scope) = (self.context.lake.engine(), &self.context.scope);
        let outcome = merge_candidates(engine, spec, &self.silver, tombstones, fed.candidates, scope, false).await?;
        Ok((fed.tally, quarantine, outcome))
    }

    /// Merges or appends the rows that passed; nothing is committed.
    async fn absorb(&self, rows: &JudgedRows, tombstones: &Beside, input: &Input) -> Result<MergeOutcome> {
        let passed = rows.passed()?;
        let Some(spec) = &self.spec else { return self.append(passed, input).await };
        let tombstones = tombstones.snapshot().filter(|_| self.rules.delete_when.is_some());
        let engine = self.context.lake.engine();
        merge(engine, spec, &self.silver, tombstones, passed, &self.context.scope, input.rebuild).await
    }

    /// A table without a key keeps every row.
    async fn append(&self, passed: datafusion::prelude::DataFrame, input: &Input) -> Result<MergeOutcome> {
        use futures::StreamExt;
        let schema = with_workspace(&self.table_schema);
        let mut writer = TableWriter::new(&self.silver, schema.clone(), WriterOptions::of(self.context.lake.engine()));
        let fail = |e| lake::query_error(&format!("cannot read `{}`", self.table.input), e);
        let mut stream = passed.execute_stream().await.map_err(fail)?;
        while let Some(batch) = stream.next().await {
            writer.write(&conform(&batch.map_err(fail)?, &schema)?).await?;
        }
        let removes = if input.rebuild { paths(&self.silver, &self.context.scope)? } else { HashSet::new() };
        let written = writer.rows();
        let adds = writer.finish().await?;
        let bytes = lake::table::bytes_of(&adds);
        let strategy = Some(if input.rebuild { Strategy::Replace } else { Strategy::Append });
        Ok(MergeOutcome { adds, removes, written, bytes, strategy, ..Default::default() })
    }

    fn check_fatal(&self, tally: &Tally) -> Result<()> {
        let Some((name, rows)) = tally.fatal.iter().next() else { return Ok(()) };
        Err(Error::new(
            ErrorKind::Data,
            format!("expectation `{name}` of `{}` does not hold for {rows} of {} rows", self.table.name, tally.read),
        )
        .with_hint(format!(
            "nothing was written; look at the rows with `lake query \"SELECT * FROM {} WHERE ...\"`",
            self.table.input
        )))
    }

    /// The columns of the quarantine with `workspace_id`.
    fn quarantine_columns(&self) -> SchemaRef {
        with_workspace(&self.quarantine_schema)
    }

    fn tombstones_text(&self) -> String {
        format!("Deletes of `{}`, so that a late older row does not come back", self.table.name)
    }

    fn quarantine_text(&self) -> String {
        format!("Rows that `{}` refused, with the reason and their origin", self.table.name)
    }

    /// Tombstones may be ahead of the table: a delete that is known early does no harm.
    async fn commit_tombstones(&self, mut tombstones: Beside, outcome: &MergeOutcome, input: &Input) -> Result<()> {
        let keeps = self.rules.delete_when.is_some() && self.spec.as_ref().is_some_and(|s| s.tombstones().is_some());
        let marks = tombstones.progress().in_scope(&self.context.scope, &self.input_names());
        let known = !input.rebuild
            && marks.definition == Some(self.table.fingerprint)
            && marks.inputs.values().any(|v| *v >= input.version);
        if known || (!keeps && !input.rebuild) {
            return Ok(());
        }
        if input.rebuild {
            tombstones.replace_columns_unless_shared(&self.context.scope)?;
        }
        for batch in outcome.tombstones.iter().filter(|_| keeps).flat_map(Spool::batches) {
            tombstones.write(&batch?).await?;
        }
        self.commit_beside(tombstones, input).await
    }

    /// A table beside this one is committed before it and under its own watermark: after a crash between the two its rows are not added again.
    async fn commit_beside(&self, beside: Beside, input: &Input) -> Result<()> {
        let removes = match beside.snapshot() {
            Some(table) if input.rebuild => paths(table, &self.context.scope)?,
            _ => HashSet::new(),
        };
        let marks = self.marks(input);
        beside.commit(removes, |progress| progress.advance(&self.context.scope, &marks), &self.context.run_id).await
    }

    async fn commit(&self, outcome: MergeOutcome, input: &Input) -> Result<Committed> {
        let old = without_workspace(self.silver.schema());
        let others = self.silver.files(&Scope::Feed)?.into_iter().any(|f| !self.context.scope.holds(f.workspace.as_deref()));
        let schema = if others { widened(&self.table.name, &old, &self.table_schema)? } else { self.table_schema.clone() };
        let schema = (schema.fields() != old.fields()).then(|| SchemaChange {
            stats_columns: Some(stats_columns(&schema, self.spec.as_ref().map_or(&[], |s| &s.key))),
            schema: schema.as_ref().clone(),
        });
        let transactions = self.progress.advance(&self.context.scope, &self.marks(input));
        let strategy = outcome.strategy.unwrap_or(Strategy::Append);
        let basis = self.context.scope.basis();
        let MergeOutcome { mut adds, marked, removes, moves, .. } = outcome;
        adds.extend(marked);
        let deletion_vectors = self.rules.merge_on_read;
        let change = Change { adds, removes, transactions, schema, moves, deletion_vectors, basis };
        self.silver.commit(change, strategy, &self.context.run_id).await
    }

    fn marks(&self, input: &Input) -> Watermarks {
        let inputs = [(self.table.input.to_string(), input.version)].into();
        Watermarks { definition: Some(self.table.fingerprint), inputs }
    }

    fn input_names(&self) -> Vec<String> {
        vec![self.table.input.to_string()]
    }

    fn name(&self) -> &TableName {
        &self.table.name
    }
}

fn fill(report: &mut TableReport, tally: &Tally, outcome: &MergeOutcome) {
    report.rows_read = tally.read;
    report.input_rows = Some(tally.read);
    report.rows_dropped = tally.dropped;
    report.rows_quarantined = tally.quarantined;
    report.rows_written = outcome.written;
    report.rows_deleted = outcome.deleted;
    report.rows_superseded = outcome.superseded;
    report.files_written = outcome.adds.len() as u64;
    report.bytes_written = outcome.bytes;
    report.strategy = outcome.strategy;
    report.reason = outcome.reason.clone();
    report.expectations = tally.expectations.clone();
    report.quarantine_reasons = tally.reasons.clone();
}

fn paths(table: &Snapshot, scope: &Scope) -> Result<HashSet<object_store::path::Path>> {
    Ok(table.files(scope)?.into_iter().map(|f| f.path).collect())
}
