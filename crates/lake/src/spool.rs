//! RowSet set aside between two passes of a job: in memory while they are few, on disk when they are many.

use std::fmt;
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use tempfile::NamedTempFile;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::query_error::query_error;
use crate::row_set::RowSet;

/// The column with a row's place among the rows set aside, from 0.
pub(crate) const ROW_COLUMN: &str = "__lake_row";

/// Takes rows of one schema.
pub struct SpoolWriter {
    schema: SchemaRef,
    memory: Vec<RecordBatch>,
    bytes: usize,
    limit: usize,
    folder: PathBuf,
    disk: Option<FileWriter<BufWriter<NamedTempFile>>>,
    rows: u64,
}

impl fmt::Debug for SpoolWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolWriter").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl SpoolWriter {
    /// Keeps rows of `schema` in memory up to the share of `engine`'s budget, then in its folder to spill to.
    pub fn new(schema: SchemaRef, engine: &Engine) -> Self {
        let budget = engine.budget();
        Self { schema, memory: vec![], bytes: 0, limit: budget.set_aside(), folder: engine.spill_folder(), disk: None, rows: 0 }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the disk refuses.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        if let Some(writer) = &mut self.disk {
            return writer.write(batch).map_err(disk);
        }
        self.bytes += batch.get_array_memory_size();
        self.memory.push(batch.clone());
        if self.bytes > self.limit { self.move_to_disk() } else { Ok(()) }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// As Arrow's own format, which costs next to nothing to write and read again.
    fn move_to_disk(&mut self) -> Result<()> {
        let file = NamedTempFile::new_in(&self.folder).map_err(|e| disk(e.into()))?;
        let mut writer = FileWriter::try_new(BufWriter::new(file), &self.schema).map_err(disk)?;
        for batch in self.memory.drain(..) {
            writer.write(&batch).map_err(disk)?;
        }
        self.disk = Some(writer);
        Ok(())
    }

    /// The rows, which can be read from now on.
    ///
    /// # Errors
    /// As [`SpoolWriter::push`].
    pub fn close(self) -> Result<Spool> {
        let file = self.disk.map(FileWriter::into_inner).transpose().map_err(disk)?;
        let file = file.map(|f| f.into_inner().map_err(|e| disk(e.into_error().into()))).transpose()?;
        Ok(Spool { schema: self.schema, memory: self.memory, file, rows: self.rows })
    }
}

/// RowSet of one schema in the order they came.
pub struct Spool {
    schema: SchemaRef,
    memory: Vec<RecordBatch>,
    file: Option<NamedTempFile>,
    rows: u64,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("rows", &self.rows).field("on_disk", &self.file.is_some()).finish_non_exhaustive()
    }
}

/// An iterator over batches that may come from disk.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl Spool {
    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows in the order they came.
    pub fn batches(&self) -> Batches {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        self.columns(&all)
    }

    /// Some columns of the rows, by place.
    fn columns(&self, columns: &[usize]) -> Batches {
        match &self.file {
            Some(file) => self.read(file, columns).unwrap_or_else(|error| Box::new(std::iter::once(Err(error)))),
            None => {
                let columns = columns.to_vec();
                let batches = self.memory.clone().into_iter();
                Box::new(batches.map(move |b| b.project(&columns).map_err(internal)))
            }
        }
    }

    fn read(&self, file: &NamedTempFile, columns: &[usize]) -> Result<Batches> {
        let file = file.reopen().map_err(|e| disk(e.into()))?;
        let reader = FileReader::try_new(BufReader::new(file), Some(columns.to_vec())).map_err(disk)?;
        Ok(Box::new(reader.map(|batch| batch.map_err(disk))))
    }

    /// The rows of `keep`.
    pub(crate) fn kept(&self, keep: Arc<RowSet>) -> Batches {
        pick(self.batches(), keep)
    }

    /// Some columns of the rows of `keep`.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when a column is missing.
    pub(crate) fn kept_columns(&self, columns: &[&str], keep: Arc<RowSet>) -> Result<Batches> {
        Ok(pick(self.columns(&self.places(columns)?), keep))
    }

    /// Some columns of the rows of `keep`, and [`ROW_COLUMN`], as a table for one query.
    ///
    /// # Errors
    /// As [`Spool::kept_columns`].
    pub(crate) fn numbered_table(self: &Arc<Self>, columns: &[&str], keep: Arc<RowSet>) -> Result<Arc<dyn TableProvider>> {
        let places = self.places(columns)?;
        let schema = Arc::new(with_row_column(&self.schema.project(&places).map_err(internal)?));
        let part = SpoolPart { spool: self.clone(), places, keep, schema: schema.clone() };
        let table = StreamingTable::try_new(schema, vec![Arc::new(part)]);
        Ok(Arc::new(table.map_err(|e| query_error("cannot read the rows set aside", e))?))
    }

    fn places(&self, columns: &[&str]) -> Result<Vec<usize>> {
        columns.iter().map(|c| self.schema.index_of(c)).collect::<std::result::Result<_, _>>().map_err(internal)
    }
}

/// RowSet of a spool as a partition of a plan.
#[derive(Debug)]
struct SpoolPart {
    spool: Arc<Spool>,
    places: Vec<usize>,
    keep: Arc<RowSet>,
    schema: SchemaRef,
}

impl SpoolPart {
    fn batches(&self) -> Batches {
        pick(number(self.spool.columns(&self.places), self.schema.clone()), self.keep.clone())
    }
}

impl PartitionStream for SpoolPart {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches().map(|b| b.map_err(|e| DataFusionError::External(Box::new(e))));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}

fn with_row_column(schema: &Schema) -> Schema {
    let number = Arc::new(Field::new(ROW_COLUMN, DataType::UInt64, false));
    Schema::new(schema.fields().iter().cloned().chain([number]).collect::<Vec<_>>())
}

/// `batches` with the number of each row.
fn number(batches: Batches, schema: SchemaRef) -> Batches {
    let mut first = 0;
    Box::new(batches.map(move |batch| {
        let batch = batch?;
        let numbers = UInt64Array::from_iter_values(first..first + batch.num_rows() as u64);
        first += batch.num_rows() as u64;
        let columns = batch.columns().iter().cloned().chain([Arc::new(numbers) as _]).collect();
        RecordBatch::try_new(schema.clone(), columns).map_err(internal)
    }))
}

/// The rows of `batches` that `keep` holds.
fn pick(batches: Batches, keep: Arc<RowSet>) -> Batches {
    let mut first = 0;
    Box::new(batches.map(move |batch| {
        let batch = batch?;
        let mask = keep.mask(first, batch.num_rows());
        first += batch.num_rows() as u64;
        if mask.true_count() == batch.num_rows() {
            return Ok(batch);
        }
        filter_record_batch(&batch, &mask).map_err(internal)
    }))
}

fn disk(source: ArrowError) -> Error {
    Error::new(ErrorKind::Storage, "rows cannot be kept in the folder for temporary files")
        .with_hint("see that it has room and may be written to; `TMPDIR` names another one")
        .with_source(source)
}

fn internal(source: ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "rows cannot be set aside").with_source(source)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::engine::EngineOptions;

    fn spool(limit: usize) -> Arc<Spool> {
        let engine = Engine::new(EngineOptions::default()).unwrap();
        let fields = vec![Field::new("id", DataType::Int64, true), Field::new("text", DataType::Utf8, true)];
        let mut spool = SpoolWriter { limit, ..SpoolWriter::new(Arc::new(Schema::new(fields)), &engine) };
        for first in [0, 100] {
            let ids = Int64Array::from_iter_values(first..first + 100);
            let texts = StringArray::from_iter_values((first..first + 100).map(|i| format!("row {i}")));
            spool.push(&RecordBatch::try_new(spool.schema.clone(), vec![Arc::new(ids), Arc::new(texts)]).unwrap()).unwrap();
        }
        Arc::new(spool.close().unwrap())
    }

    fn rows(batches: Batches) -> Vec<RecordBatch> {
        batches.collect::<Result<Vec<_>>>().unwrap()
    }

    #[tokio::test]
    async fn rows_are_the_same_in_memory_and_on_disk() {
        let (memory, disk) = (spool(usize::MAX), spool(0));
        assert!(memory.file.is_none() && disk.file.is_some());
        let all = |s: &Spool| arrow::compute::concat_batches(&s.schema, &rows(s.batches())).unwrap();
        assert_eq!(all(&memory), all(&disk));
        let mut odd = RowSet::default();
        (0..200).filter(|r| r % 2 == 1).for_each(|r| odd.insert(r));
        let mut seven = RowSet::default();
        seven.insert(7);
        odd.remove_all(&seven);
        let everything = Arc::new(RowSet::default().others(200));
        for spool in [memory, disk] {
            assert_eq!(rows(spool.kept(Arc::new(odd.clone()))).iter().map(RecordBatch::num_rows).sum::<usize>(), 99);
            let session = Engine::new(EngineOptions::default()).unwrap().scratch_session();
            let frame = session.read_table(spool.numbered_table(&["text", "id"], everything.clone()).unwrap()).unwrap();
            let batches = frame.collect().await.unwrap();
            let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
            assert_eq!(batch.schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["text", "id", ROW_COLUMN]);
            assert_eq!(batch.num_rows(), 200);
        }
    }
}
