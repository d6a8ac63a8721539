//! Meeting the table by lookup: rows of the table are read once, a few columns of them, and looked up among the winners in memory.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use arrow::array::{ArrayRef, AsArray, DynComparator, RecordBatch, make_comparator};
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::{Int64Type, UInt32Type};
use datafusion::common::Column;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::Expr;
use futures::TryStreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::merge::candidates::Winners;
use crate::merge::keys::{KeyHasher, KeyIndex};
use crate::merge::{DELETE_COLUMN, Fate, Merge, MergeSpec, Sequence, match_error};
use crate::row_set::{Ranks, RowSet};
use crate::table::{DataFile, FILE_COLUMN, PLACE_COLUMN, Snapshot};

/// Nulls are lowest.
const ORDER: SortOptions = SortOptions { descending: false, nulls_first: true };

/// Winners that can be looked up by key, all or a piece of them.
pub(super) struct Lookup<'a> {
    merge: &'a Merge<'a>,
    winners: &'a Winners,
    hasher: KeyHasher,
    index: KeyIndex,
    ranks: Ranks<'a>,
    /// Of each of the winners what is compared, in the order of their row numbers.
    compared: RecordBatch,
}

/// A row of the table and the winner of its key, of equal sequence.
struct Tie {
    file: u32,
    place: u64,
    winner: u64,
}

impl<'a> Lookup<'a> {
    /// For those of the winners that are in `rows`, which are the rows of `index`.
    pub(super) fn new(merge: &'a Merge<'a>, winners: &'a Winners, rows: &'a RowSet, index: KeyIndex) -> Result<Self> {
        let columns = merge.spec.compared();
        let compared = in_one(merge.spec, winners, &columns, rows)?;
        Ok(Self { merge, winners, hasher: winners.hasher.clone(), index, ranks: rows.ranks(), compared })
    }

    /// Marks what becomes of the winners and of the rows of `files`.
    pub(super) async fn meet_table(&self, files: &[DataFile], fate: &mut Fate) -> Result<()> {
        let mut columns = self.merge.spec.group();
        let ordered = self.order();
        columns.extend(ordered.filter(|c| !columns.contains(c)));
        let mut ties = vec![];
        let mut rows = self.read(self.merge.table, files, &columns).await?;
        while let Some(batch) = rows.try_next().await.map_err(match_error)? {
            self.meet_batch(&batch, fate, &mut ties)?;
            if ties.len() >= self.winners.ties {
                self.break_ties(files, &ties, fate).await?;
                ties.clear();
            }
        }
        self.break_ties(files, &ties, fate).await
    }

    /// The column that orders rows of a key, when the table has one.
    fn order(&self) -> Option<&'a str> {
        (self.merge.spec.sequence != Sequence::Arrival).then(|| self.merge.spec.order_column())
    }

    fn meet_batch(&self, batch: &RecordBatch, fate: &mut Fate, ties: &mut Vec<Tie>) -> Result<()> {
        let deletes = column(&self.compared, DELETE_COLUMN)?.as_boolean();
        let order = self.order().map(|name| comparator(&self.compared, batch, name)).transpose()?;
        let decides = !self.merge.spec.tie_columns().is_empty();
        let (files, places) = (column(batch, FILE_COLUMN)?.as_primitive::<UInt32Type>(), places(batch)?);
        for (row, winner, rank) in self.found(batch)? {
            let (file, place) = (files.value(row), places[row]);
            match order.as_ref().map_or(Ordering::Greater, |order| order(rank, row)) {
                Ordering::Equal if !deletes.value(rank) && decides => ties.push(Tie { file, place, winner }),
                Ordering::Equal if deletes.value(rank) => fate.beat(file, place, winner),
                Ordering::Greater => fate.beat(file, place, winner),
                _ => fate.lost.insert(winner),
            }
        }
        Ok(())
    }

    /// The rows of `batch` whose key a winner has: row, number of the winner, and its place among winners.
    fn found(&self, batch: &RecordBatch) -> Result<Vec<(usize, u64, usize)>> {
        let group = self.merge.spec.group();
        let keys = group.iter().map(|c| column(batch, c).cloned()).collect::<Result<Vec<ArrayRef>>>()?;
        let mut hashes = vec![];
        self.hasher.hash(&keys, &mut hashes)?;
        let mut found = vec![];
        for (row, hash) in hashes.into_iter().enumerate() {
            for winner in self.index.rows(hash) {
                if let Some(rank) = self.ranks.of(winner) {
                    found.push((row, winner, rank as usize));
                }
            }
        }
        if !found.is_empty() {
            let equal = group.iter().map(|c| comparator(&self.compared, batch, c)).collect::<Result<Vec<_>>>()?;
            found.retain(|(row, _, rank)| equal.iter().all(|equal| equal(*rank, *row).is_eq()));
        }
        Ok(found)
    }

    /// Compares the other columns of rows with equal sequence.
    async fn break_ties(&self, files: &[DataFile], ties: &[Tie], fate: &mut Fate) -> Result<()> {
        if ties.is_empty() {
            return Ok(());
        }
        let columns = self.merge.spec.tie_columns();
        let mut numbers = RowSet::default();
        ties.iter().for_each(|tie| numbers.insert(tie.winner));
        let winners = in_one(self.merge.spec, self.winners, &columns, &numbers)?;
        let ranks = numbers.ranks();
        // Files are numbered anew: only those with a tie are read again.
        let touched: Vec<u32> = ties.iter().map(|t| t.file).collect::<BTreeSet<_>>().into_iter().collect();
        let again: Vec<DataFile> = touched.iter().filter_map(|f| files.get(*f as usize).cloned()).collect();
        let by_place: HashMap<(u32, u64), u64> = ties.iter().map(|t| ((t.file, t.place), t.winner)).collect();
        let mut rows = self.read(self.merge.table, &again, &columns).await?;
        while let Some(batch) = rows.try_next().await.map_err(match_error)? {
            let (numbers, places) = (column(&batch, FILE_COLUMN)?.as_primitive::<UInt32Type>(), places(&batch)?);
            let order = columns.iter().map(|c| comparator(&winners, &batch, c)).collect::<Result<Vec<_>>>()?;
            for row in 0..batch.num_rows() {
                let (file, place) = (touched[numbers.value(row) as usize], places[row]);
                let Some(winner) = by_place.get(&(file, place)) else { continue };
                let Some(rank) = ranks.of(*winner) else { continue };
                let decided = order.iter().map(|order| order(rank as usize, row)).find(|o| o.is_ne());
                match decided {
                    Some(Ordering::Greater) => fate.beat(file, place, *winner),
                    _ => fate.lost.insert(*winner),
                }
            }
        }
        Ok(())
    }

    /// Marks the upserts that an earlier delete of the same or a later sequence beats.
    pub(super) async fn meet_tombstones(&self, tombstones: &Snapshot, files: &[DataFile], fate: &mut Fate) -> Result<()> {
        let Some(sequence) = self.order() else { return Ok(()) };
        let mut columns = self.merge.spec.group();
        columns.extend((!columns.contains(&sequence)).then_some(sequence));
        let mut rows = self.read(tombstones, files, &columns).await?;
        let deletes = column(&self.compared, DELETE_COLUMN)?.as_boolean();
        while let Some(batch) = rows.try_next().await.map_err(match_error)? {
            let order = comparator(&self.compared, &batch, sequence)?;
            for (row, winner, rank) in self.found(&batch)? {
                if !deletes.value(rank) && order(rank, row).is_le() {
                    fate.lost.insert(winner);
                }
            }
        }
        Ok(())
    }

    async fn read(&self, table: &Snapshot, files: &[DataFile], columns: &[&str]) -> Result<SendableRecordBatchStream> {
        let session = self.merge.engine.scratch_session();
        let frame = session.read_table(table.scan_places(files.to_vec())).map_err(match_error)?;
        let columns = columns.iter().copied().chain([FILE_COLUMN, PLACE_COLUMN]);
        let columns: Vec<Expr> = columns.map(|c| Expr::Column(Column::from_name(c))).collect();
        frame.select(columns).map_err(match_error)?.execute_stream().await.map_err(match_error)
    }
}

/// Some columns of the winners in `keep`, together.
fn in_one(spec: &MergeSpec, winners: &Winners, columns: &[&str], keep: &RowSet) -> Result<RecordBatch> {
    let batches = winners.rows.kept_columns(columns, std::sync::Arc::new(keep.clone()))?.collect::<Result<Vec<_>>>()?;
    let places = columns.iter().map(|c| spec.candidates().index_of(c)).collect::<Result<Vec<_>, _>>().map_err(internal)?;
    let schema = std::sync::Arc::new(spec.candidates().project(&places).map_err(internal)?);
    concat_batches(&schema, &batches).map_err(internal)
}

fn comparator(winners: &RecordBatch, batch: &RecordBatch, name: &str) -> Result<DynComparator> {
    make_comparator(column(winners, name)?, column(batch, name)?, ORDER).map_err(internal)
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef> {
    let column = batch.column_by_name(name);
    column.ok_or_else(|| Error::new(ErrorKind::Internal, format!("rows to compare have no column `{name}`")))
}

fn places(batch: &RecordBatch) -> Result<Vec<u64>> {
    let places = column(batch, PLACE_COLUMN)?.as_primitive::<Int64Type>();
    Ok(places.values().iter().map(|p| p.unsigned_abs()).collect())
}

fn internal(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot compare rows with the table's").with_source(source)
}
