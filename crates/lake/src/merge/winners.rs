//! The winners of a merge: in memory while they are few, on disk when they are many.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::datasource::MemTable;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tempfile::NamedTempFile;

use crate::error::{Error, ErrorKind, Result};
use crate::query_error::query_error;

/// The column with the number of a winner.
pub(super) const ROW_COLUMN: &str = "__lake_row";

/// Rows of one schema, numbered from 0 in the order they came.
pub(super) struct Winners {
    schema: SchemaRef,
    memory: Vec<RecordBatch>,
    bytes: usize,
    limit: usize,
    disk: Option<ArrowWriter<NamedTempFile>>,
    file: Option<NamedTempFile>,
    rows: u64,
}

impl Winners {
    /// Keeps up to `limit` bytes in memory.
    pub(super) fn new(candidates: &SchemaRef, limit: usize) -> Self {
        let number = Arc::new(Field::new(ROW_COLUMN, DataType::UInt64, false));
        let schema = Arc::new(Schema::new(candidates.fields().iter().cloned().chain([number]).collect::<Vec<_>>()));
        Self { schema, memory: vec![], bytes: 0, limit, disk: None, file: None, rows: 0 }
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let numbers = UInt64Array::from_iter_values(self.rows..self.rows + batch.num_rows() as u64);
        self.rows += batch.num_rows() as u64;
        let columns = batch.columns().iter().cloned().chain([Arc::new(numbers) as _]).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(internal)?;
        self.bytes += batch.get_array_memory_size();
        if let Some(disk) = &mut self.disk {
            return disk.write(&batch).map_err(spill);
        }
        self.memory.push(batch);
        if self.bytes > self.limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        let file = NamedTempFile::new().map_err(|e| spill(e.into()))?;
        let mut writer = ArrowWriter::try_new(file, self.schema.clone(), None).map_err(spill)?;
        for batch in self.memory.drain(..) {
            writer.write(&batch).map_err(spill)?;
        }
        self.disk = Some(writer);
        Ok(())
    }

    /// No more rows come.
    pub(super) fn close(&mut self) -> Result<()> {
        if let Some(writer) = self.disk.take() {
            self.file = Some(writer.into_inner().map_err(spill)?);
        }
        Ok(())
    }

    /// Makes all rows readable as table `name`.
    pub(super) async fn register(&self, session: &SessionContext, name: &str) -> Result<()> {
        let fail = |e| query_error("cannot read the rows to merge", e);
        if let Some(file) = &self.file {
            let path = file.path().to_string_lossy().into_owned();
            let options = ParquetReadOptions::default().file_extension("");
            return session.register_parquet(name, path, options).await.map_err(fail);
        }
        let table = MemTable::try_new(self.schema.clone(), vec![self.memory.clone()]).map_err(fail)?;
        session.register_table(name, Arc::new(table)).map(|_| ()).map_err(fail)
    }

    /// Makes `columns` of the rows that `keep` holds readable as table `name`; these are held in memory.
    pub(super) fn register_kept(&self, session: &SessionContext, name: &str, keep: &[bool], columns: &[&str]) -> Result<()> {
        let fail = |e| query_error("cannot read the rows to merge", e);
        let indices = columns.iter().map(|c| self.schema.index_of(c)).collect::<Result<Vec<_>, _>>().map_err(internal)?;
        let schema = Arc::new(self.schema.project(&indices).map_err(internal)?);
        let project = |batch: Result<RecordBatch>| batch?.project(&indices).map_err(internal);
        let batches = self.batches(Some(keep)).map(project).collect::<Result<Vec<_>>>()?;
        let table = MemTable::try_new(schema, vec![batches]).map_err(fail)?;
        session.register_table(name, Arc::new(table)).map(|_| ()).map_err(fail)
    }

    /// The rows, those only that `keep` holds when it is given, in order.
    pub(super) fn batches<'a>(&'a self, keep: Option<&'a [bool]>) -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send + 'a> {
        let all: Box<dyn Iterator<Item = Result<RecordBatch>> + Send + 'a> = match &self.file {
            None => Box::new(self.memory.iter().cloned().map(Ok)),
            Some(file) => match Self::read(file) {
                Ok(reader) => Box::new(reader),
                Err(error) => Box::new(std::iter::once(Err(error))),
            },
        };
        Box::new(all.map(move |batch| {
            let batch = batch?;
            match keep {
                None => Ok(batch),
                Some(keep) => filter_record_batch(&batch, &mask(&batch, keep)).map_err(internal),
            }
        }))
    }

    fn read(file: &NamedTempFile) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let again = file.reopen().map_err(|e| spill(e.into()))?;
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(again).and_then(|b| b.with_batch_size(8192).build()).map_err(spill)?;
        Ok(reader.map(|b| b.map_err(internal)))
    }
}

fn mask(batch: &RecordBatch, keep: &[bool]) -> BooleanArray {
    let numbers = batch.column(batch.num_columns() - 1).as_primitive::<arrow::datatypes::UInt64Type>();
    let kept = |i: usize| usize::try_from(numbers.value(i)).ok().and_then(|n| keep.get(n)).copied().unwrap_or(false);
    (0..numbers.len()).map(|i| Some(kept(i))).collect()
}

fn spill(source: parquet::errors::ParquetError) -> Error {
    Error::new(ErrorKind::Storage, "cannot spill rows to the folder for temporary files").with_source(source)
}

fn internal(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot keep the rows to merge").with_source(source)
}
