//! Bringing winners into a table: find the files that hold a key they win, rewrite those, add the rest.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::SortExpr;
use datafusion::prelude::{SessionContext, col};
use deltalake::kernel::Add;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::merge::latest::Latest;
use crate::merge::order::{quoted, same_key, wins};
use crate::merge::winners::{ROW_COLUMN, Winners};
use crate::merge::{DELETE_COLUMN, MergeSpec, Sequence};
use crate::query_error::query_error;
use crate::report::Strategy;
use crate::table::{DataFile, Scope, Snapshot, TableWriter, WriterOptions, conform};
use crate::workspace_id::WORKSPACE_COLUMN;

/// Winners kept in memory without a budget, in bytes.
const WINNERS_IN_MEMORY: usize = 512 << 20;

/// What a merge would do to the table; nothing is committed yet.
#[derive(Debug, Default)]
pub struct MergeOutcome {
    /// Files to add.
    pub adds: Vec<Add>,
    /// Files to remove.
    pub removes: HashSet<Path>,
    /// Upserts that are in the table after the merge.
    pub written: u64,
    /// Deletes that won their key.
    pub deleted: u64,
    /// Candidates that lost to another candidate, to the table, or to an earlier delete.
    pub superseded: u64,
    /// The deletes that won, in the tombstones' schema; empty when rows are ordered by arrival.
    pub tombstones: Vec<RecordBatch>,
    /// How the rows get in.
    pub strategy: Option<Strategy>,
    /// Bytes written.
    pub bytes: u64,
}

/// Merges `candidates` (rows of [`MergeSpec::candidates`], in any order) into `table`, writing files but not committing them. `tombstones` is the
/// table of earlier deletes. With `rebuild`, the rows of `scope` are replaced as if the table and its tombstones were empty.
///
/// # Errors
/// Those of storage, and [`ErrorKind::Memory`] when the budget is too small.
pub async fn merge(
    engine: &Engine,
    spec: &MergeSpec,
    table: &Snapshot,
    tombstones: Option<&Snapshot>,
    candidates: datafusion::prelude::DataFrame,
    scope: &Scope,
    rebuild: bool,
) -> Result<MergeOutcome> {
    if table.files(scope)?.iter().any(|f| f.has_deletion_vector) {
        let message = format!("`{}` has rows that another engine marked as deleted beside the files", table.name());
        return Err(Error::new(ErrorKind::Config, message)
            .with_hint("let that engine rewrite the files, such as by `REORG TABLE ... APPLY (PURGE)`"));
    }
    let merge = Merge { engine, spec, table };
    let (winners, superseded) = merge.winners(candidates).await?;
    let mut outcome = MergeOutcome { superseded, ..Default::default() };
    let workspaces = merge.workspaces(&winners)?;
    let mut keep = vec![true; usize::try_from(winners.rows()).unwrap_or_default()];
    let files = table.files(scope)?;
    let touched = if rebuild {
        outcome.removes = files.iter().map(|f| f.path.clone()).collect();
        vec![]
    } else {
        let near = in_workspaces(files, &workspaces);
        let touched = merge.lose_to_table(&winners, &near, &mut keep).await?;
        if let Some(tombstones) = tombstones {
            let deletes = in_workspaces(tombstones.files(scope)?, &workspaces);
            merge.lose_to_tombstones(&winners, tombstones, deletes, &mut keep).await?;
        }
        outcome.removes = touched.iter().map(|f| f.path.clone()).collect();
        touched
    };
    outcome.superseded += keep.iter().filter(|k| !**k).count() as u64;
    merge.write(&winners, touched, &keep, &mut outcome).await?;
    outcome.strategy = Some(match (rebuild, outcome.removes.is_empty()) {
        (true, _) => Strategy::Replace,
        (false, true) => Strategy::Append,
        (false, false) => Strategy::Merge,
    });
    Ok(outcome)
}

fn in_workspaces(files: Vec<DataFile>, workspaces: &HashSet<String>) -> Vec<DataFile> {
    files.into_iter().filter(|f| f.workspace.as_ref().is_some_and(|w| workspaces.contains(w))).collect()
}

struct Merge<'a> {
    engine: &'a Engine,
    spec: &'a MergeSpec,
    table: &'a Snapshot,
}

impl Merge<'_> {
    fn session(&self) -> SessionContext {
        self.engine.scratch_session()
    }

    /// Sorts the candidates and keeps the latest of each key.
    async fn winners(&self, candidates: datafusion::prelude::DataFrame) -> Result<(Winners, u64)> {
        let limit = self.engine.memory().map_or(WINNERS_IN_MEMORY, |m| usize::try_from(m / 8).unwrap_or(usize::MAX));
        let mut winners = Winners::new(&self.spec.candidates(), limit);
        let mut latest = Latest::new(self.spec)?;
        let fail = |e| query_error("cannot order the rows by key", e);
        let sorted = candidates.sort(self.sort_order()).map_err(fail)?;
        let mut stream = sorted.execute_stream().await.map_err(fail)?;
        while let Some(batch) = stream.next().await {
            let batch = conform(&batch.map_err(fail)?, &self.spec.candidates())?;
            if let Some(done) = latest.push(batch)? {
                winners.push(&done)?;
            }
        }
        if let Some(last) = latest.finish() {
            winners.push(&last)?;
        }
        winners.close()?;
        Ok((winners, latest.superseded()))
    }

    fn sort_order(&self) -> Vec<SortExpr> {
        let column = |name: &str| col(datafusion::common::Column::from_name(name));
        let groups = self.spec.group().into_iter().map(|name| column(name).sort(true, true));
        let order = [self.spec.order_column(), DELETE_COLUMN].map(|name| column(name).sort(false, false));
        groups.chain(order).collect()
    }

    fn workspaces(&self, winners: &Winners) -> Result<HashSet<String>> {
        let mut found = HashSet::new();
        for batch in winners.batches(None) {
            let batch = batch?;
            let column = batch.column_by_name(WORKSPACE_COLUMN).and_then(|c| c.as_string_opt::<i32>());
            let mut last = None;
            for workspace in column.into_iter().flat_map(|c| c.iter()).flatten() {
                if last != Some(workspace.to_string()) {
                    found.insert(workspace.to_string());
                    last = Some(workspace.to_string());
                }
            }
        }
        Ok(found)
    }

    /// Marks the winners that a row of the table beats; gives the files with a row that is beaten.
    async fn lose_to_table(&self, winners: &Winners, files: &[DataFile], keep: &mut [bool]) -> Result<Vec<DataFile>> {
        if files.is_empty() || winners.rows() == 0 {
            return Ok(vec![]);
        }
        let session = self.session();
        winners.register(&session, "w").await?;
        self.register(&session, "t", self.table.scan_files_numbered(files.to_vec()))?;
        let sql = format!(
            "SELECT w.{ROW_COLUMN}, t.{}, {} FROM w JOIN t ON {}",
            Snapshot::file_column(),
            wins(self.spec, "w", "t"),
            same_key(self.spec, "w", "t"),
        );
        let mut touched = HashSet::new();
        let mut stream = self.run(&session, &sql).await?;
        while let Some(batch) = stream.try_next().await.map_err(match_error)? {
            let rows = batch.column(0).as_primitive::<UInt64Type>();
            let numbers = batch.column(1).as_primitive::<UInt32Type>();
            let wins = batch.column(2).as_boolean();
            for i in 0..batch.num_rows() {
                if wins.value(i) {
                    touched.insert(numbers.value(i) as usize);
                } else {
                    drop_row(keep, rows.value(i));
                }
            }
        }
        let mut touched: Vec<_> = touched.into_iter().collect();
        touched.sort_unstable();
        Ok(touched.into_iter().filter_map(|i| files.get(i).cloned()).collect())
    }

    /// Marks the upserts that an earlier delete of the same or a later sequence beats.
    async fn lose_to_tombstones(
        &self,
        winners: &Winners,
        tombstones: &Snapshot,
        files: Vec<DataFile>,
        keep: &mut [bool],
    ) -> Result<()> {
        let Sequence::Column(sequence) = &self.spec.sequence else { return Ok(()) };
        if files.is_empty() || winners.rows() == 0 {
            return Ok(());
        }
        let session = self.session();
        winners.register(&session, "w").await?;
        self.register(&session, "d", tombstones.scan_files(files))?;
        let sequence = quoted(sequence);
        let sql = format!(
            "SELECT DISTINCT w.{ROW_COLUMN} FROM w JOIN d ON {} WHERE NOT w.{DELETE_COLUMN} AND (w.{sequence} IS NULL OR d.{sequence} >= w.{sequence})",
            same_key(self.spec, "w", "d"),
        );
        let mut stream = self.run(&session, &sql).await?;
        while let Some(batch) = stream.try_next().await.map_err(match_error)? {
            batch.column(0).as_primitive::<UInt64Type>().values().iter().for_each(|row| drop_row(keep, *row));
        }
        Ok(())
    }

    /// Writes the rows of `touched` files that stay, and the winners that are kept.
    async fn write(&self, winners: &Winners, touched: Vec<DataFile>, keep: &[bool], outcome: &mut MergeOutcome) -> Result<()> {
        let schema = crate::table::with_workspace(&self.spec.columns);
        let mut writer = TableWriter::new(self.table, schema.clone(), WriterOptions::within(self.engine.memory()));
        if !touched.is_empty() {
            let mut stream = self.survivors(winners, touched, keep).await?;
            while let Some(batch) = stream.try_next().await.map_err(match_error)? {
                writer.write(&conform(&batch, &schema)?).await?;
            }
        }
        let before = writer.rows();
        for batch in winners.batches(Some(keep)) {
            let (upserts, deletes) = split(&batch?)?;
            outcome.deleted += deletes.num_rows() as u64;
            if let Some(schema) = self.spec.tombstones().filter(|_| deletes.num_rows() > 0) {
                outcome.tombstones.push(conform(&deletes, &schema)?);
            }
            writer.write(&conform(&upserts, &schema)?).await?;
        }
        outcome.written = writer.rows() - before;
        outcome.adds = writer.finish().await?;
        outcome.bytes = crate::table::bytes_of(&outcome.adds);
        Ok(())
    }

    async fn survivors(&self, winners: &Winners, touched: Vec<DataFile>, keep: &[bool]) -> Result<SendableRecordBatchStream> {
        let session = self.session();
        winners.register_kept(&session, "w", keep, &self.spec.group())?;
        self.register(&session, "t", self.table.scan_files(touched))?;
        self.run(&session, &format!("SELECT t.* FROM t LEFT ANTI JOIN w ON {}", same_key(self.spec, "t", "w"))).await
    }

    fn register(&self, session: &SessionContext, name: &str, table: Arc<dyn datafusion::catalog::TableProvider>) -> Result<()> {
        session.register_table(name, table).map(|_| ()).map_err(match_error)
    }

    async fn run(&self, session: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream> {
        let frame = session.sql(sql).await.map_err(match_error)?;
        frame.execute_stream().await.map_err(match_error)
    }
}

fn drop_row(keep: &mut [bool], row: u64) {
    if let Some(kept) = usize::try_from(row).ok().and_then(|r| keep.get_mut(r)) {
        *kept = false;
    }
}

/// Upserts and deletes of a batch of winners.
fn split(batch: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
    let internal =
        |e: arrow::error::ArrowError| Error::new(ErrorKind::Internal, "cannot tell deletes from upserts").with_source(e);
    let deletes = batch
        .column_by_name(DELETE_COLUMN)
        .and_then(|c| c.as_boolean_opt())
        .ok_or_else(|| Error::new(ErrorKind::Internal, "candidates do not say which of them delete"))?;
    let upserts = arrow::compute::not(deletes).map_err(internal)?;
    let pick = |mask| arrow::compute::filter_record_batch(batch, mask).map_err(internal);
    Ok((pick(&upserts)?, pick(deletes)?))
}

fn match_error(error: datafusion::common::DataFusionError) -> Error {
    query_error("cannot match rows with the table", error)
}
