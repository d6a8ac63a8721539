//! One Parquet file of one workspace while it is written: its columns are encoded beside each other, and encoded bytes wait in a temporary file until it
//! is complete.

use std::path::Path as FilePath;
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use delta_kernel::expressions::Scalar;
use deltalake::kernel::Add;
use deltalake::kernel::scalars::ScalarExt;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use crate::error::{Error, ErrorKind, Result};
use crate::table::statistics::{StatsColumns, statistics};
use crate::table::waiting::{Content, Overflow, Waiting};
use crate::workspace_id::WORKSPACE_COLUMN;

/// Bytes of rows that are encoded before the memory they take is looked at.
const STEP_BYTES: usize = 1 << 20;

/// Rows below which one thread is as fast as several.
const WORTH_A_THREAD: usize = 512;

/// The most rows of a row group.
const ROW_GROUP_ROWS: usize = 1 << 20;

/// A file that takes rows.
pub(super) struct OpenFile {
    path: Path,
    workspace: String,
    file: SerializedFileWriter<Waiting>,
    columns: ArrowRowGroupWriterFactory,
    group: Option<RowGroup>,
    row_group: usize,
}

/// The row group being encoded.
struct RowGroup {
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
}

impl RowGroup {
    /// Encodes rows, on several threads when there is enough to do.
    fn write(&mut self, rows: &RecordBatch, threads: usize) -> Result<(), ParquetError> {
        let fields = rows.schema_ref().fields().iter().zip(rows.columns());
        let leaves = fields.map(|(field, column)| compute_leaves(field, column)).collect::<Result<Vec<_>, _>>()?;
        let work = self.columns.iter_mut().zip(leaves.into_iter().flatten());
        self.rows += rows.num_rows();
        if threads < 2 || rows.num_rows() < WORTH_A_THREAD {
            return work.into_iter().try_for_each(|(column, leaf)| column.write(&leaf));
        }
        let work = Mutex::new(work);
        let encode = || {
            let next = || work.lock().unwrap_or_else(PoisonError::into_inner).next();
            std::iter::from_fn(next).try_for_each(|(column, leaf)| column.write(&leaf))
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(encode)).collect();
            let own = encode();
            let lost = |_| Err(ParquetError::General("a thread that encodes has ended early".to_string()));
            others.into_iter().map(|other| other.join().unwrap_or_else(lost)).fold(own, Result::and)
        })
    }

    fn held(&self) -> usize {
        self.columns.iter().map(ArrowColumnWriter::memory_size).sum()
    }

    fn size(&self) -> usize {
        self.columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum()
    }
}

/// A file that is complete, and the action that adds it.
pub(super) struct EncodedFile {
    pub(super) add: Add,
    pub(super) path: Path,
    pub(super) content: Content,
}

impl OpenFile {
    /// A file at `path`, of `workspace`; `schema` is without the partition column.
    pub(super) fn create(
        path: Path,
        workspace: &str,
        schema: &SchemaRef,
        properties: WriterProperties,
        waiting: Waiting,
        row_group: usize,
    ) -> Result<Self> {
        let writer = ArrowWriter::try_new(waiting, schema.clone(), Some(properties)).map_err(failed)?;
        let (file, columns) = writer.into_serialized_writer().map_err(failed)?;
        Ok(Self { path, workspace: workspace.to_string(), file, columns, group: None, row_group })
    }

    /// The rows of a batch in steps after which it is time to look at the memory they take.
    pub(super) fn steps(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + use<> {
        let each = (batch.get_array_memory_size() / batch.num_rows().max(1)).max(1);
        let step = (STEP_BYTES / each).clamp(16, 8192);
        let batch = batch.clone();
        (0..batch.num_rows()).step_by(step).map(move |at| batch.slice(at, step.min(batch.num_rows() - at)))
    }

    /// Encodes rows on up to `threads` threads.
    pub(super) fn write(&mut self, rows: &RecordBatch, threads: usize) -> Result<()> {
        let group = match &mut self.group {
            Some(group) => group,
            None => {
                let columns = self.columns.create_column_writers(self.file.flushed_row_groups().len()).map_err(failed)?;
                self.group.insert(RowGroup { columns, rows: 0 })
            }
        };
        group.write(rows, threads).map_err(failed)?;
        let full = group.rows >= ROW_GROUP_ROWS || group.size() >= self.row_group;
        if full { self.end_row_group() } else { Ok(()) }
    }

    /// Bytes that the row group being encoded holds in memory.
    pub(super) fn held(&self) -> usize {
        self.group.as_ref().map_or(0, RowGroup::held)
    }

    /// About how large the file would be if it was finished now.
    pub(super) fn size(&self) -> u64 {
        (self.file.bytes_written() + self.group.as_ref().map_or(0, RowGroup::size)) as u64
    }

    /// Ends the row group, so that it holds no memory.
    pub(super) fn end_row_group(&mut self) -> Result<()> {
        let Some(group) = self.group.take() else { return Ok(()) };
        let mut out = self.file.next_row_group().map_err(failed)?;
        for column in group.columns {
            column.close().and_then(|chunk| chunk.append_to_row_group(&mut out)).map_err(failed)?;
        }
        out.close().map(|_| ()).map_err(failed)
    }

    pub(super) fn finish(mut self, columns: &StatsColumns) -> Result<EncodedFile> {
        self.end_row_group()?;
        let metadata = self.file.finish().map_err(failed)?;
        let size = self.file.bytes_written() as u64;
        let none = Waiting::new(0, Overflow::Temporary(FilePath::new("").to_path_buf()));
        let content = std::mem::replace(self.file.inner_mut(), none).finish().map_err(|e| failed(e.into()))?;
        let add = Add {
            path: self.path.to_string(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            partition_values: [(WORKSPACE_COLUMN.to_string(), Some(self.workspace))].into(),
            modification_time: chrono::Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(statistics(&metadata, columns)),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        };
        Ok(EncodedFile { add, path: self.path, content })
    }
}

/// A new path in the folder of the workspace's partition.
pub(super) fn path(workspace: &str) -> Result<Path> {
    let value = Scalar::String(workspace.to_string()).serialize_encoded();
    let name = format!("{WORKSPACE_COLUMN}={value}/part-00000-{}-c000.snappy.parquet", uuid::Uuid::new_v4());
    Path::parse(name).map_err(|e| Error::new(ErrorKind::Internal, "a workspace's name makes no path").with_source(e))
}

/// Encoding fails only where its bytes go: to memory or to the folder for temporary files.
fn failed(source: ParquetError) -> Error {
    match source {
        ParquetError::External(_) => Error::new(
            ErrorKind::Storage,
            format!("a file of the table cannot be written, or not be kept in the folder for temporary files: {source}"),
        )
        .with_hint("see that both have room and may be written to; `TMPDIR` names another folder for temporary files")
        .with_source(source),
        other => Error::new(ErrorKind::Internal, "rows cannot be encoded as Parquet").with_source(other),
    }
}
