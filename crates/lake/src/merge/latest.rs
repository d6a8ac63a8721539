//! One row of each key from a stream sorted by workspace, key, and sequence downwards.

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::{Error, ErrorKind, Result};
use crate::merge::{DELETE_COLUMN, MergeSpec, Sequence};

/// Picks the winner of each key. Batches have the columns of candidates, and others after them; they come sorted by workspace and key, then by sequence and delete downwards; rows that are equal
/// in all these are decided by the remaining columns, here, so that the sort need not carry them as keys.
pub(super) struct Latest {
    group: Columns,
    order: Columns,
    ties: Option<Columns>,
    /// The best row so far of the key that the last batch ended with.
    carry: Option<RecordBatch>,
}

/// Some columns of a batch as comparable bytes.
struct Columns {
    indices: Vec<usize>,
    converter: RowConverter,
}

impl Columns {
    fn new(spec: &MergeSpec, names: &[&str]) -> Result<Self> {
        let schema = spec.candidates();
        let indices = names.iter().map(|n| schema.index_of(n)).collect::<Result<Vec<_>, _>>().map_err(internal)?;
        let options = SortOptions { descending: false, nulls_first: true };
        let fields = indices.iter().map(|i| SortField::new_with_options(schema.field(*i).data_type().clone(), options)).collect();
        Ok(Self { indices, converter: RowConverter::new(fields).map_err(internal)? })
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Rows> {
        let columns: Vec<_> = self.indices.iter().map(|i| batch.column(*i).clone()).collect();
        self.converter.convert_columns(&columns).map_err(internal)
    }
}

impl Latest {
    /// For candidates of `spec`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when a key column is missing.
    pub(super) fn new(spec: &MergeSpec) -> Result<Self> {
        let ties = spec.tie_columns();
        let decide = spec.sequence != Sequence::Arrival && !ties.is_empty();
        Ok(Self {
            group: Columns::new(spec, &spec.group())?,
            order: Columns::new(spec, &[spec.order_column(), DELETE_COLUMN])?,
            ties: decide.then(|| Columns::new(spec, &ties)).transpose()?,
            carry: None,
        })
    }

    /// Takes the next batch; gives the winners of the keys that are complete with it.
    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        let batch = match self.carry.take() {
            None => batch,
            Some(carry) => concat_batches(&batch.schema(), [&carry, &batch]).map_err(internal)?,
        };
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let mut best = self.best_of_each_key(&batch)?;
        self.carry = best.pop().map(|last| batch.slice(usize::try_from(last).unwrap_or_default(), 1));
        if best.is_empty() {
            return Ok(None);
        }
        take_record_batch(&batch, &UInt64Array::from(best)).map(Some).map_err(internal)
    }

    /// The winner of the last key.
    pub(super) fn finish(&mut self) -> Option<RecordBatch> {
        self.carry.take()
    }

    fn best_of_each_key(&mut self, batch: &RecordBatch) -> Result<Vec<u64>> {
        let groups = self.group.rows(batch)?;
        let mut best: Vec<usize> = vec![0];
        let mut compared: Option<(Rows, Option<Rows>)> = None;
        for row in 1..batch.num_rows() {
            let current = best.len() - 1;
            if groups.row(row) != groups.row(best[current]) {
                best.push(row);
                continue;
            }
            if compared.is_none() {
                let ties = self.ties.as_mut().map(|t| t.rows(batch)).transpose()?;
                compared = Some((self.order.rows(batch)?, ties));
            }
            if let Some((order, ties)) = &compared
                && beats(order, ties.as_ref(), row, best[current])
            {
                best[current] = row;
            }
        }
        Ok(best.into_iter().map(|i| i as u64).collect())
    }
}

fn beats(order: &Rows, ties: Option<&Rows>, row: usize, best: usize) -> bool {
    match order.row(row).cmp(&order.row(best)) {
        std::cmp::Ordering::Equal => ties.is_some_and(|t| t.row(row) > t.row(best)),
        ordering => ordering.is_gt(),
    }
}

fn internal(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot compare the rows of a key").with_source(source)
}
