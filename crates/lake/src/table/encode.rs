//! One Parquet file of one workspace while it is written: encoded bytes wait in a temporary file until it is complete.

use std::path::Path as FilePath;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use delta_kernel::expressions::Scalar;
use deltalake::kernel::Add;
use deltalake::kernel::scalars::ScalarExt;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use tempfile::SpooledTempFile;

use crate::budget::Budget;
use crate::error::{Error, ErrorKind, Result};
use crate::table::statistics::{StatsColumns, statistics};
use crate::workspace_id::WORKSPACE_COLUMN;

/// Bytes of rows that are encoded before the memory they take is looked at.
const STEP_BYTES: usize = 1 << 20;

/// How data files are encoded, in row groups of up to `row_group` bytes.
fn properties(row_group: usize) -> WriterPropertiesPtr {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(1 << 20))
        .set_max_row_group_bytes(Some(row_group))
        .set_created_by(format!("lake {}", env!("CARGO_PKG_VERSION")));
    Arc::new(properties.build())
}

/// A file that takes rows.
pub(super) struct OpenFile {
    path: Path,
    workspace: String,
    writer: ArrowWriter<SpooledTempFile>,
}

/// A file that is complete, and the action that adds it.
pub(super) struct EncodedFile {
    pub(super) add: Add,
    pub(super) path: Path,
    pub(super) bytes: SpooledTempFile,
    pub(super) size: u64,
}

impl OpenFile {
    /// A file of `workspace`, kept in memory up to its share of `budget` and then in `folder`; `schema` is without the partition column.
    pub(super) fn create(workspace: &str, schema: &SchemaRef, budget: Budget, folder: &FilePath) -> Result<Self> {
        let spooled = SpooledTempFile::new_in(budget.encoded(), folder);
        let writer = ArrowWriter::try_new(spooled, schema.clone(), Some(properties(budget.row_group()).as_ref().clone()))
            .map_err(failed)?;
        Ok(Self { path: path(workspace)?, workspace: workspace.to_string(), writer })
    }

    /// The rows of a batch in steps after which it is time to look at the memory they take.
    pub(super) fn steps(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + use<> {
        let each = (batch.get_array_memory_size() / batch.num_rows().max(1)).max(1);
        let step = (STEP_BYTES / each).clamp(16, 8192);
        let batch = batch.clone();
        (0..batch.num_rows()).step_by(step).map(move |at| batch.slice(at, step.min(batch.num_rows() - at)))
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows).map_err(failed)
    }

    /// Bytes that the row group being encoded holds in memory.
    pub(super) fn held(&self) -> usize {
        self.writer.memory_size()
    }

    /// About how large the file would be if it was finished now.
    pub(super) fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Ends the row group, so that it holds no memory.
    pub(super) fn end_row_group(&mut self) -> Result<()> {
        self.writer.flush().map_err(failed)
    }

    pub(super) fn finish(mut self, columns: &StatsColumns) -> Result<EncodedFile> {
        let metadata = self.writer.finish().map_err(failed)?;
        let size = self.writer.bytes_written() as u64;
        let bytes = std::mem::replace(self.writer.inner_mut(), SpooledTempFile::new(0));
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
        Ok(EncodedFile { add, path: self.path, bytes, size })
    }
}

/// A new path in the folder of the workspace's partition.
fn path(workspace: &str) -> Result<Path> {
    let value = Scalar::String(workspace.to_string()).serialize_encoded();
    let name = format!("{WORKSPACE_COLUMN}={value}/part-00000-{}-c000.snappy.parquet", uuid::Uuid::new_v4());
    Path::parse(name).map_err(|e| Error::new(ErrorKind::Internal, "a workspace's name makes no path").with_source(e))
}

/// Encoding fails only where its bytes go: to memory or to the folder for temporary files.
fn failed(source: ParquetError) -> Error {
    match source {
        ParquetError::External(_) => Error::new(
            ErrorKind::Storage,
            format!("a file of the table cannot be kept in the folder for temporary files: {source}"),
        )
        .with_hint("see that it has room and may be written to; `TMPDIR` names another one")
        .with_source(source),
        other => Error::new(ErrorKind::Internal, "rows cannot be encoded as Parquet").with_source(other),
    }
}
