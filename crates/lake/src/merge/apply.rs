//! Bringing winners into a table: find the files that hold a key they win, rewrite those, add the rest.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt32Type};
use datafusion::prelude::DataFrame;
use deltalake::kernel::Add;
use futures::TryStreamExt;
use object_store::path::Path;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::merge::candidates::{Candidates, Winners};
use crate::merge::lookup::Lookup;
use crate::merge::{DELETE_COLUMN, MergeSpec};
use crate::query_error::query_error;
use crate::report::Strategy;
use crate::row_set::RowSet;
use crate::spool::{Spool, SpoolWriter};
use crate::table::{
    DataFile, DeletionVector, FILE_COLUMN, Moves, PLACE_COLUMN, Scope, Snapshot, TableWriter, WriterOptions, conform,
};

/// What a merge would do to the table; nothing is committed yet.
#[derive(Debug, Default)]
pub struct MergeOutcome {
    /// Files to add.
    pub adds: Vec<Add>,
    /// Files that stay while some of their rows are marked as deleted: to add, where `removes` takes them out as they were.
    pub marked: Vec<Add>,
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
    /// Why so.
    pub reason: Option<String>,
    /// Bytes written.
    pub bytes: u64,
    /// Which rows of the files to remove go, and which files to add hold those that stay.
    pub moves: Moves,
}

/// Merges `candidates` (rows of [`MergeSpec::candidates`], in any order) into `table`, as [`merge_candidates`] does.
///
/// # Errors
/// Those of [`merge_candidates`] and of reading.
pub async fn merge(
    engine: &Engine,
    spec: &MergeSpec,
    table: &Snapshot,
    tombstones: Option<&Snapshot>,
    candidates: DataFrame,
    scope: &Scope,
    rebuild: bool,
) -> Result<MergeOutcome> {
    let mut rows = Candidates::new(spec, engine)?;
    let schema = spec.candidates();
    let fail = |e| query_error("cannot read the rows to merge", e);
    let mut stream = candidates.execute_stream().await.map_err(fail)?;
    while let Some(batch) = stream.try_next().await.map_err(fail)? {
        rows.push(&conform(&batch, &schema)?)?;
    }
    merge_candidates(engine, spec, table, tombstones, rows, scope, rebuild).await
}

/// Merges `candidates` into `table`, writing files but not committing them. `tombstones` is the table of earlier deletes. With `rebuild`, the rows of
/// `scope` are replaced as if the table and its tombstones were empty.
///
/// # Errors
/// Those of storage, and [`ErrorKind::Memory`] when the budget is too small.
pub async fn merge_candidates(
    engine: &Engine,
    spec: &MergeSpec,
    table: &Snapshot,
    tombstones: Option<&Snapshot>,
    candidates: Candidates,
    scope: &Scope,
    rebuild: bool,
) -> Result<MergeOutcome> {
    let files = table.files(scope)?;
    let merge = Merge { engine, spec, table };
    let mut winners = candidates.winners().await?;
    let mut outcome = MergeOutcome { superseded: winners.superseded, ..Default::default() };
    let (met, mut fate) = match rebuild {
        true => (vec![], Fate::default()),
        false => {
            let met = near(files.clone(), &winners);
            let deletes = match tombstones {
                Some(tombstones) => near(tombstones.files(scope)?, &winners),
                None => vec![],
            };
            let fate = merge.meet(&mut winners, &met, tombstones, &deletes).await?;
            (met, fate)
        }
    };
    let removed = if rebuild { &files } else { &met };
    let goes = |(i, _): &(usize, &DataFile)| rebuild || u32::try_from(*i).is_ok_and(|i| fate.beaten.contains_key(&i));
    outcome.removes = removed.iter().enumerate().filter(goes).map(|(_, f)| f.path.clone()).collect();
    outcome.superseded += fate.lost.count();
    let (marked, rewritten) = merge.weigh(&met, std::mem::take(&mut fate.beaten)).await?;
    (outcome.strategy, outcome.reason) = how(rebuild, spec.merge_on_read, &marked, rewritten.len());
    outcome.marked = table.mark_deleted(&marked).await?;
    merge.write(&winners, &met, rewritten, &fate.lost, &mut outcome).await?;
    Ok(outcome)
}

/// How rows get into a table of which rows of some files are marked and others are written anew, and why.
fn how(rebuild: bool, marks: bool, marked: &BTreeMap<Path, RowSet>, rewritten: usize) -> (Option<Strategy>, Option<String>) {
    let files = |count: usize| if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let (strategy, reason) = match (marked.len(), rewritten) {
        _ if rebuild => (Strategy::Replace, "all rows were made anew".to_owned()),
        (0, 0) => (Strategy::Append, "no row of the table changed or went".to_owned()),
        (0, anew) if !marks => (Strategy::Merge, format!("rows of {} changed; `merge_on_read` is not set", files(anew))),
        (0, anew) => (Strategy::Merge, format!("many rows of {} changed", files(anew))),
        (some, 0) => (Strategy::MergeOnRead, format!("few rows of {} changed", files(some))),
        (some, anew) => {
            (Strategy::MergeOnRead, format!("few rows of {} changed; many did of {}, written anew", files(some), files(anew)))
        }
    };
    (Some(strategy), Some(reason))
}

/// A file of which more than one row in this many is deleted is written anew: all who read it read those rows for nothing.
const MANY_DELETED: u64 = 4;

/// What became of the winners when they met the table, and of its rows.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// Winners that a row of the table or a tombstone beats.
    pub(super) lost: RowSet,
    /// For each file, by its index, the places of rows that a winner beats.
    pub(super) beaten: BTreeMap<u32, RowSet>,
}

impl Fate {
    /// Notes that `winner` beats a row. One that lost to a tombstone leaves the row that it meets as it is; tombstones come first.
    pub(super) fn beat(&mut self, file: u32, place: u64, winner: u64) {
        if !self.lost.holds(winner) {
            self.beaten.entry(file).or_default().insert(place);
        }
    }
}

/// Those of `files` that may hold the key of a winner, by their workspace and the log's statistics.
fn near(files: Vec<DataFile>, winners: &Winners) -> Vec<DataFile> {
    let own = |f: &DataFile| f.workspace.as_ref().is_some_and(|w| winners.workspaces.contains(w));
    files.into_iter().filter(|f| own(f) && winners.ranges.may_be_in(f.stats.as_deref())).collect()
}

pub(super) struct Merge<'a> {
    pub(super) engine: &'a Engine,
    pub(super) spec: &'a MergeSpec,
    pub(super) table: &'a Snapshot,
}

impl Merge<'_> {
    /// What becomes of the winners, and of the rows of `files`, when they meet. The winners are looked up, in pieces that fit in memory; the rows of
    /// the table go by once for each piece.
    async fn meet(
        &self,
        winners: &mut Winners,
        files: &[DataFile],
        tombstones: Option<&Snapshot>,
        deletes: &[DataFile],
    ) -> Result<Fate> {
        let mut fate = Fate::default();
        let tombstones = tombstones.filter(|_| !deletes.is_empty());
        if winners.keep.is_empty() || (files.is_empty() && tombstones.is_none()) {
            return Ok(fate);
        }
        for parts in winners.pieces(self.engine.budget()) {
            let index = winners.keys.index(parts, &winners.keep)?;
            let rows = index.row_set();
            if rows.is_empty() {
                continue;
            }
            let lookup = Lookup::new(self, winners, &rows, index)?;
            if let Some(tombstones) = tombstones {
                lookup.meet_tombstones(tombstones, deletes, &mut fate).await?;
            }
            if !files.is_empty() {
                lookup.meet_table(files, &mut fate).await?;
            }
        }
        Ok(fate)
    }

    /// Parts the files with `beaten` rows: those to mark, with all of their deleted rows, and those to write anew.
    async fn weigh(
        &self,
        files: &[DataFile],
        beaten: BTreeMap<u32, RowSet>,
    ) -> Result<(BTreeMap<Path, RowSet>, BTreeMap<u32, RowSet>)> {
        let (mut marked, mut rewritten) = (BTreeMap::new(), BTreeMap::new());
        for (index, rows) in beaten {
            let file = files.get(index as usize).filter(|_| self.spec.merge_on_read);
            match file.and_then(|file| Some((file, file.deleted.as_ref().map_or(0, DeletionVector::count), file.rows_held()?))) {
                Some((file, before, held)) if (before + rows.count()) * MANY_DELETED <= held => {
                    let mut deleted = self.table.deleted_rows(file.deleted.as_ref()).await?;
                    deleted.add_all(&rows);
                    marked.insert(file.path.clone(), deleted);
                }
                _ => {
                    rewritten.insert(index, rows);
                }
            }
        }
        Ok((marked, rewritten))
    }

    /// Writes the rows that stay of files with `beaten` rows, and the winners that did not lose.
    async fn write(
        &self,
        winners: &Winners,
        files: &[DataFile],
        beaten: BTreeMap<u32, RowSet>,
        lost: &RowSet,
        outcome: &mut MergeOutcome,
    ) -> Result<()> {
        let schema = crate::table::with_workspace(&self.spec.columns);
        if !beaten.is_empty() {
            // In files of their own: whoever follows the table need not look at rows that only moved.
            let mut writer = TableWriter::new(self.table, schema.clone(), WriterOptions::of(self.engine));
            let gone = self.write_survivors(files, beaten, &mut writer).await?;
            outcome.adds = writer.finish().await?;
            let moved = outcome.adds.iter().filter_map(|add| Path::parse(&add.path).ok()).collect();
            outcome.moves = Moves { gone, moved };
        }
        let mut writer = TableWriter::new(self.table, schema.clone(), WriterOptions::of(self.engine));
        let deleted = self.spec.tombstones();
        let mut tombstones = deleted.as_ref().map(|schema| SpoolWriter::new(schema.clone(), self.engine));
        let mut keep = winners.keep.as_ref().clone();
        keep.remove_all(lost);
        for batch in winners.rows.kept(Arc::new(keep)) {
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
        outcome.written = writer.rows();
        outcome.adds.extend(writer.finish().await?);
        outcome.bytes = crate::table::bytes_of(&outcome.adds);
        Ok(())
    }

    /// Writes the rows of files without those that are beaten; gives these, with the number of rows of each file.
    async fn write_survivors(
        &self,
        files: &[DataFile],
        beaten: BTreeMap<u32, RowSet>,
        writer: &mut TableWriter,
    ) -> Result<BTreeMap<Path, (RowSet, u64)>> {
        let (touched, beaten): (Vec<DataFile>, Vec<RowSet>) =
            beaten.into_iter().filter_map(|(i, rows)| Some((files.get(i as usize)?.clone(), rows))).unzip();
        // Deleted rows do not go by; places count them.
        let paths: Vec<(Path, u64)> =
            touched.iter().map(|file| (file.path.clone(), file.deleted.as_ref().map_or(0, DeletionVector::count))).collect();
        let session = self.engine.scratch_session();
        let frame = session.read_table(self.table.scan_places(touched)).map_err(match_error)?;
        let mut stream = frame.execute_stream().await.map_err(match_error)?;
        let schema = writer.schema().clone();
        let mut rows = vec![0u64; beaten.len()];
        while let Some(batch) = stream.try_next().await.map_err(match_error)? {
            writer.write(&conform(&survivors(&batch, &beaten, &mut rows)?, &schema)?).await?;
        }
        let gone = paths.into_iter().zip(beaten.into_iter().zip(rows));
        Ok(gone.map(|((path, deleted), (beaten, rows))| (path, (beaten, rows + deleted))).collect())
    }
}

/// The rows of `batch` that are not `beaten`, by file; counts all `rows` of each.
fn survivors(batch: &RecordBatch, beaten: &[RowSet], rows: &mut [u64]) -> Result<RecordBatch> {
    let missing = || Error::new(ErrorKind::Internal, "rows of the table do not tell their place");
    let file = batch.column_by_name(FILE_COLUMN).and_then(|c| c.as_primitive_opt::<UInt32Type>()).ok_or_else(missing)?;
    let place = batch.column_by_name(PLACE_COLUMN).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(missing)?;
    file.values().iter().filter_map(|f| usize::try_from(*f).ok()).for_each(|file| rows[file] += 1);
    let stays = |(file, place): (&u32, &i64)| !beaten.get(*file as usize).is_some_and(|b| b.holds(place.unsigned_abs()));
    let stays: BooleanArray = file.values().iter().zip(place.values()).map(stays).map(Some).collect();
    let internal = |e: arrow::error::ArrowError| Error::new(ErrorKind::Internal, "cannot part the table's rows").with_source(e);
    arrow::compute::filter_record_batch(batch, &stays).map_err(internal)
}

/// Upserts and deletes of a batch of winners.
fn split(batch: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
    let internal =
        |e: arrow::error::ArrowError| Error::new(ErrorKind::Internal, "cannot tell deletes from upserts").with_source(e);
    let deletes = batch
        .column_by_name(DELETE_COLUMN)
        .and_then(|c| c.as_boolean_opt())
        .ok_or_else(|| Error::new(ErrorKind::Internal, "candidates do not say which of them delete"))?;
    if deletes.true_count() == 0 {
        return Ok((batch.clone(), batch.slice(0, 0)));
    }
    let upserts = arrow::compute::not(deletes).map_err(internal)?;
    let pick = |mask| arrow::compute::filter_record_batch(batch, mask).map_err(internal);
    Ok((pick(&upserts)?, pick(deletes)?))
}

pub(super) fn match_error(error: datafusion::common::DataFusionError) -> Error {
    query_error("cannot match rows with the table", error)
}
