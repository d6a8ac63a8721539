//! The rows to merge as they come, and the winner of each key among them.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use datafusion::logical_expr::SortExpr;
use datafusion::prelude::col;
use futures::StreamExt;

use crate::budget::Budget;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::merge::keys::{KeyHasher, KeyWriter, PARTS, SortedKeys};
use crate::merge::latest::Latest;
use crate::merge::ranges::KeyRanges;
use crate::merge::{DELETE_COLUMN, MergeSpec};
use crate::query_error::query_error;
use crate::row_set::RowSet;
use crate::spool::{ROW_COLUMN, Spool, SpoolWriter};
use crate::workspace_id::WORKSPACE_COLUMN;

/// Takes the rows to merge in any order and sets them aside. Most keys come once, so rows are neither sorted nor compared but where the hash of
/// their key comes again.
pub struct Candidates {
    spec: MergeSpec,
    engine: Engine,
    rows: SpoolWriter,
    pub(super) hasher: KeyHasher,
    pub(super) keys: KeyWriter,
    hashes: Vec<u64>,
    group: Vec<usize>,
    /// Bytes of the columns that are compared with the table's.
    pub(super) compared: usize,
    /// The most rows of equal sequence that are compared at once.
    pub(super) ties: usize,
    compared_columns: Vec<usize>,
    workspaces: HashSet<String>,
    ranges: KeyRanges,
}

impl fmt::Debug for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidates").field("rows", &self.rows.rows()).finish_non_exhaustive()
    }
}

impl Candidates {
    /// None yet, for a table of `spec`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when a key column is missing.
    pub fn new(spec: &MergeSpec, engine: &Engine) -> Result<Self> {
        let schema = spec.candidates();
        let places = |names: Vec<&str>| -> Result<Vec<usize>> {
            let places = names.into_iter().map(|n| schema.index_of(n)).collect::<Result<_, _>>();
            places.map_err(|e| Error::new(ErrorKind::Internal, "the key is not among the columns").with_source(e))
        };
        Ok(Self {
            group: places(spec.group())?,
            compared_columns: places(spec.compared())?,
            rows: SpoolWriter::new(schema.clone(), engine),
            keys: KeyWriter::new(engine),
            hasher: KeyHasher::new(),
            hashes: vec![],
            compared: 0,
            ties: engine.budget().ties(),
            workspaces: HashSet::new(),
            ranges: KeyRanges::new(&schema, &spec.key),
            spec: spec.clone(),
            engine: engine.clone(),
        })
    }

    /// Adds rows of [`MergeSpec::candidates`].
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when rows have to go to disk and it refuses.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let group: Vec<ArrayRef> = self.group.iter().map(|i| batch.column(*i).clone()).collect();
        self.hasher.hash(&group, &mut self.hashes)?;
        self.keys.push(&self.hashes)?;
        let bytes = |i: &usize| batch.column(*i).to_data().get_slice_memory_size().unwrap_or_default();
        self.compared += self.compared_columns.iter().map(bytes).sum::<usize>();
        self.note_workspaces(batch);
        self.ranges.note(batch);
        self.rows.push(batch)
    }

    fn note_workspaces(&mut self, batch: &RecordBatch) {
        let column = batch.column_by_name(WORKSPACE_COLUMN).and_then(|c| c.as_string_opt::<i32>());
        let mut last = None;
        for workspace in column.into_iter().flat_map(|c| c.iter()).flatten() {
            if last != Some(workspace) && !self.workspaces.contains(workspace) {
                self.workspaces.insert(workspace.to_string());
            }
            last = Some(workspace);
        }
    }

    /// The best row of each key.
    pub(super) async fn winners(self) -> Result<Winners> {
        let Self { spec, engine, rows, hasher, keys, compared, ties, workspaces, ranges, .. } = self;
        let count = rows.rows();
        let rows = Arc::new(rows.close()?);
        let (mut lost, keys) = keys.close()?;
        if !lost.is_empty() {
            let best = best_of(&spec, &engine, &rows, lost.clone()).await?;
            lost.remove_all(&best);
        }
        Ok(Winners {
            superseded: lost.count(),
            keep: Arc::new(lost.others(count)),
            rows,
            workspaces,
            ranges,
            hasher,
            keys,
            compared,
            ties,
        })
    }
}

/// The best row of each key, in the order in which they came.
pub(super) struct Winners {
    pub(super) rows: Arc<Spool>,
    /// Those of the rows that won.
    pub(super) keep: Arc<RowSet>,
    pub(super) workspaces: HashSet<String>,
    pub(super) ranges: KeyRanges,
    /// Candidates that lost to another one.
    pub(super) superseded: u64,
    pub(super) hasher: KeyHasher,
    pub(super) keys: SortedKeys,
    /// Bytes of what is compared with the table's rows, of all candidates.
    compared: usize,
    /// The most rows of equal sequence that are compared at once.
    pub(super) ties: usize,
}

impl Winners {
    /// The parts of their keys that are looked up together: all of them if they fit in memory.
    pub(super) fn pieces(&self, budget: Budget) -> impl Iterator<Item = Range<usize>> + use<> {
        let rows = usize::try_from(self.rows.rows()).unwrap_or(usize::MAX);
        let bytes = self.compared.saturating_add(rows.saturating_mul(self.keys.bytes_to_index_a_row()));
        let step = PARTS / bytes.div_ceil(budget.looked_up()).clamp(1, PARTS);
        (0..PARTS).step_by(step).map(move |first| first..(first + step).min(PARTS))
    }
}

/// Sorts the rows of `doubtful` and gives the latest of each key.
async fn best_of(spec: &MergeSpec, engine: &Engine, rows: &Arc<Spool>, doubtful: RowSet) -> Result<RowSet> {
    let fail = |e| query_error("cannot order the rows by key", e);
    let schema = spec.candidates();
    let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let table = rows.numbered_table(&columns, Arc::new(doubtful))?;
    let frame = engine.scratch_session().read_table(table).map_err(fail)?;
    let mut stream = frame.sort(sort_order(spec)).map_err(fail)?.execute_stream().await.map_err(fail)?;
    let mut latest = Latest::new(spec)?;
    let mut best = RowSet::default();
    let mut note = |batch: RecordBatch| {
        let numbers = batch.column_by_name(ROW_COLUMN).and_then(|c| c.as_primitive_opt::<UInt64Type>());
        numbers.into_iter().flat_map(|n| n.values()).for_each(|row| best.insert(*row));
    };
    while let Some(batch) = stream.next().await {
        latest.push(batch.map_err(fail)?)?.into_iter().for_each(&mut note);
    }
    latest.finish().into_iter().for_each(note);
    Ok(best)
}

fn sort_order(spec: &MergeSpec) -> Vec<SortExpr> {
    let column = |name: &str| col(datafusion::common::Column::from_name(name));
    let groups = spec.group().into_iter().map(|name| column(name).sort(true, true));
    let order = [spec.order_column(), DELETE_COLUMN].map(|name| column(name).sort(false, false));
    groups.chain(order).collect()
}
