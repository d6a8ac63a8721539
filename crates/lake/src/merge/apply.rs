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
use crate::merge::{DELETE_COLUMN, MergeSpec, Sequence};
use crate::query_error::query_error;
use crate::report::Strategy;
use crate::spool::{ROW_COLUMN, Rows, Spool, SpoolWriter};
use crate::table::{DataFile, Scope, Snapshot, TableWriter, WriterOptions, conform};
use crate::workspace_id::WORKSPACE_COLUMN;

/// Winners of which the keys fit in memory whatever the budget.
const FEW_ROWS: u64 = 1 << 16;

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
    /// The deletes that won, in the tombstones' schema; none when rows are ordered by arrival.
    pub tombstones: Option<Spool>,
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
    let winners = merge.winners(candidates).await?;
    let mut outcome = MergeOutcome { superseded: winners.superseded, ..Default::default() };
    let mut fate = Fate::of(winners.rows.rows());
    let files = table.files(scope)?;
    let touched = if rebuild {
        outcome.removes = files.iter().map(|f| f.path.clone()).collect();
        vec![]
    } else {
        let near = in_workspaces(files, &winners.workspaces);
        let touched = merge.lose_to_table(&winners, &near, &mut fate).await?;
        if let Some(tombstones) = tombstones {
            let deletes = in_workspaces(tombstones.files(scope)?, &winners.workspaces);
            merge.lose_to_tombstones(&winners, tombstones, deletes, &mut fate).await?;
        }
        outcome.removes = touched.iter().map(|f| f.path.clone()).collect();
        touched
    };
    outcome.superseded += fate.lost.count();
    merge.write(&winners, touched, fate, &mut outcome).await?;
    outcome.strategy = Some(match (rebuild, outcome.removes.is_empty()) {
        (true, _) => Strategy::Replace,
        (false, true) => Strategy::Append,
        (false, false) => Strategy::Merge,
    });
    Ok(outcome)
}

/// The best candidate of each key, in the order of workspace and key.
struct Winners {
    rows: Arc<Spool>,
    workspaces: HashSet<String>,
    /// Candidates that lost to another one.
    superseded: u64,
}

/// What became of the winners when they met the table.
struct Fate {
    /// Those that a row of the table or a tombstone beats.
    lost: Rows,
    /// Those that beat a row of the table.
    beat: Rows,
}

impl Fate {
    fn of(count: u64) -> Self {
        Self { lost: Rows::none(count), beat: Rows::none(count) }
    }
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
    /// A session in which `left` is the left side of a join; when it is on disk the join has to spill too.
    fn session(&self, left: &Spool) -> SessionContext {
        if left.is_on_disk() { self.engine.scratch_session() } else { self.engine.scratch_session_for_small_joins() }
    }

    /// Sorts the candidates and keeps the latest of each key.
    async fn winners(&self, candidates: datafusion::prelude::DataFrame) -> Result<Winners> {
        let mut rows = SpoolWriter::new(self.spec.candidates(), self.engine);
        let mut workspaces = HashSet::new();
        let mut latest = Latest::new(self.spec)?;
        let fail = |e| query_error("cannot order the rows by key", e);
        let sorted = candidates.sort(self.sort_order()).map_err(fail)?;
        let mut stream = sorted.execute_stream().await.map_err(fail)?;
        while let Some(batch) = stream.next().await {
            let batch = conform(&batch.map_err(fail)?, &self.spec.candidates())?;
            if let Some(done) = latest.push(batch)? {
                note_workspaces(&done, &mut workspaces);
                rows.push(&done)?;
            }
        }
        if let Some(last) = latest.finish() {
            note_workspaces(&last, &mut workspaces);
            rows.push(&last)?;
        }
        Ok(Winners { rows: Arc::new(rows.close()?), workspaces, superseded: latest.superseded() })
    }

    fn sort_order(&self) -> Vec<SortExpr> {
        let column = |name: &str| col(datafusion::common::Column::from_name(name));
        let groups = self.spec.group().into_iter().map(|name| column(name).sort(true, true));
        let order = [self.spec.order_column(), DELETE_COLUMN].map(|name| column(name).sort(false, false));
        groups.chain(order).collect()
    }

    /// Marks the winners that a row of the table beats; gives the files with a row that is beaten.
    async fn lose_to_table(&self, winners: &Winners, files: &[DataFile], fate: &mut Fate) -> Result<Vec<DataFile>> {
        if files.is_empty() || winners.rows.rows() == 0 {
            return Ok(vec![]);
        }
        let session = self.session(&winners.rows);
        self.register(&session, "w", winners.rows.numbered_table(&self.compared())?)?;
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
                    fate.beat.insert(rows.value(i));
                } else {
                    fate.lost.insert(rows.value(i));
                }
            }
        }
        let mut touched: Vec<_> = touched.into_iter().collect();
        touched.sort_unstable();
        Ok(touched.into_iter().filter_map(|i| files.get(i).cloned()).collect())
    }

    /// The columns of a winner that are compared with the table's.
    fn compared(&self) -> Vec<&str> {
        let mut columns = self.spec.group();
        columns.push(DELETE_COLUMN);
        if self.spec.sequence != Sequence::Arrival {
            let others = self.spec.tie_columns().into_iter().chain([self.spec.order_column()]);
            columns.extend(others.filter(|c| !self.spec.key.iter().any(|k| k == c)));
        }
        columns
    }

    /// Marks the upserts that an earlier delete of the same or a later sequence beats.
    async fn lose_to_tombstones(
        &self,
        winners: &Winners,
        tombstones: &Snapshot,
        files: Vec<DataFile>,
        fate: &mut Fate,
    ) -> Result<()> {
        let Sequence::Column(name) = &self.spec.sequence else { return Ok(()) };
        if files.is_empty() || winners.rows.rows() == 0 {
            return Ok(());
        }
        let session = self.session(&winners.rows);
        let mut columns = self.spec.group();
        columns.push(DELETE_COLUMN);
        if !self.spec.key.contains(name) {
            columns.push(name);
        }
        self.register(&session, "w", winners.rows.numbered_table(&columns)?)?;
        self.register(&session, "d", tombstones.scan_files(files))?;
        let sequence = quoted(name);
        let sql = format!(
            "SELECT w.{ROW_COLUMN} FROM w JOIN d ON {} WHERE NOT w.{DELETE_COLUMN} AND (w.{sequence} IS NULL OR d.{sequence} >= w.{sequence})",
            same_key(self.spec, "w", "d"),
        );
        let mut stream = self.run(&session, &sql).await?;
        while let Some(batch) = stream.try_next().await.map_err(match_error)? {
            batch.column(0).as_primitive::<UInt64Type>().values().iter().for_each(|row| fate.lost.insert(*row));
        }
        Ok(())
    }

    /// Writes the rows of `touched` files that stay, and the winners that did not lose.
    async fn write(&self, winners: &Winners, touched: Vec<DataFile>, mut fate: Fate, outcome: &mut MergeOutcome) -> Result<()> {
        let schema = crate::table::with_workspace(&self.spec.columns);
        let mut writer = TableWriter::new(self.table, schema.clone(), WriterOptions::of(self.engine));
        if !touched.is_empty() {
            // A winner that lost to a tombstone leaves the row it met as it is.
            fate.beat.remove_all(&fate.lost);
            let mut stream = self.survivors(winners, touched, fate.beat).await?;
            while let Some(batch) = stream.try_next().await.map_err(match_error)? {
                writer.write(&conform(&batch, &schema)?).await?;
            }
        }
        let before = writer.rows();
        let deleted = self.spec.tombstones();
        let mut tombstones = deleted.as_ref().map(|schema| SpoolWriter::new(schema.clone(), self.engine));
        let keep = Arc::new(fate.lost.others(winners.rows.rows()));
        for batch in winners.rows.kept(keep) {
            let (upserts, deletes) = split(&batch?)?;
            outcome.deleted += deletes.num_rows() as u64;
            if let (Some(schema), Some(spool)) = (&deleted, &mut tombstones)
                && deletes.num_rows() > 0
            {
                spool.push(&conform(&deletes, schema)?)?;
            }
            writer.write(&conform(&upserts, &schema)?).await?;
        }
        outcome.tombstones = tombstones.map(SpoolWriter::close).transpose()?;
        outcome.written = writer.rows() - before;
        outcome.adds = writer.finish().await?;
        outcome.bytes = crate::table::bytes_of(&outcome.adds);
        Ok(())
    }

    /// The rows of `touched` files without those that the winners of `beat` replace.
    async fn survivors(&self, winners: &Winners, touched: Vec<DataFile>, beat: Rows) -> Result<SendableRecordBatchStream> {
        let few = beat.count() <= FEW_ROWS || !winners.rows.is_on_disk();
        let keys = winners.rows.kept_table(&self.spec.group(), Arc::new(beat), few)?;
        let session = if few { self.engine.scratch_session_for_small_joins() } else { self.engine.scratch_session() };
        self.register(&session, "w", keys)?;
        self.register(&session, "t", self.table.scan_files(touched))?;
        self.run(&session, &format!("SELECT t.* FROM w RIGHT ANTI JOIN t ON {}", same_key(self.spec, "w", "t"))).await
    }

    fn register(&self, session: &SessionContext, name: &str, table: Arc<dyn datafusion::catalog::TableProvider>) -> Result<()> {
        session.register_table(name, table).map(|_| ()).map_err(match_error)
    }

    async fn run(&self, session: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream> {
        let frame = session.sql(sql).await.map_err(match_error)?;
        frame.execute_stream().await.map_err(match_error)
    }
}

/// Adds the workspaces of `batch`, whose rows come sorted by them.
fn note_workspaces(batch: &RecordBatch, found: &mut HashSet<String>) {
    let column = batch.column_by_name(WORKSPACE_COLUMN).and_then(|c| c.as_string_opt::<i32>());
    let mut last = None;
    for workspace in column.into_iter().flat_map(|c| c.iter()).flatten() {
        if last != Some(workspace) {
            found.insert(workspace.to_string());
            last = Some(workspace);
        }
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
