//! Writing rows to Parquet files of a table, before any commit mentions them.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, new_null_array};
use arrow::compute::{CastOptions, concat_batches, partition, sort_to_indices, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::common::nested_struct::cast_column;
use delta_kernel::table_properties::DataSkippingNumIndexedCols;
use deltalake::datafile::writer::{DeltaWriter, WriterConfig};
use deltalake::kernel::Add;
use object_store::ObjectStore;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::contained::contained;
use crate::error::{Error, ErrorKind, Result};
use crate::table::commit::delta_error;
use crate::table::snapshot::Snapshot;
use crate::workspace_id::WORKSPACE_COLUMN;

/// How files are written.
#[derive(Debug, Clone, Copy)]
pub struct WriterOptions {
    /// A file is finished when it reaches this size, in bytes.
    pub target_file_size: u64,
    /// At most this many partitions have an open file at a time.
    pub open_partitions: usize,
    /// Rows wait in memory until they have this many bytes, so that those of one workspace come together.
    pub staged_bytes: usize,
}

impl WriterOptions {
    /// Sized to a budget of memory, in bytes; the defaults without one.
    pub fn within(memory: Option<u64>) -> Self {
        let Some(memory) = memory else { return Self::default() };
        let share = usize::try_from(memory / 16).unwrap_or(usize::MAX);
        let default = Self::default();
        Self {
            target_file_size: default.target_file_size.min(memory / 16),
            staged_bytes: default.staged_bytes.min(share),
            ..default
        }
    }
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { target_file_size: 128 << 20, open_partitions: 256, staged_bytes: 32 << 20 }
    }
}

/// Streams rows into Parquet files, one or more for each workspace. Files that are written but never committed are
/// invisible to readers and are removed by `vacuum`.
pub struct TableWriter {
    store: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    stats_columns: Option<Vec<String>>,
    stats_count: u64,
    options: WriterOptions,
    staged: Vec<RecordBatch>,
    staged_bytes: usize,
    open: Option<DeltaWriter>,
    partitions: HashSet<String>,
    finished: Vec<Add>,
    rows: u64,
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TableWriter").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl TableWriter {
    /// A writer of `schema` (any order, `workspace_id` included) into the folder of `table`.
    pub fn new(table: &Snapshot, schema: SchemaRef, options: WriterOptions) -> Self {
        let setting = |name: &str| table.delta().snapshot().ok().and_then(|s| s.metadata().configuration().get(name).cloned());
        let stats_columns = setting("delta.dataSkippingStatsColumns")
            .filter(|v| !v.is_empty())
            .map(|v| v.split(',').map(|c| c.trim().trim_matches('`').to_string()).collect());
        let stats_count = setting("delta.dataSkippingNumIndexedCols").and_then(|v| v.parse().ok()).unwrap_or(32);
        Self {
            store: table.delta().log_store().object_store(None),
            schema,
            stats_columns,
            stats_count,
            options,
            staged: vec![],
            staged_bytes: 0,
            open: None,
            partitions: HashSet::new(),
            finished: vec![],
            rows: 0,
        }
    }

    /// The schema of the batches it takes.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Changes the schema for what follows; files open so far are finished with the old one.
    pub async fn widen(&mut self, schema: SchemaRef) -> Result<()> {
        self.drain().await?;
        self.finish_open().await?;
        self.schema = schema;
        Ok(())
    }

    /// Writes a batch whose columns are exactly those of [`TableWriter::schema`].
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the columns differ, [`ErrorKind::Storage`] when the store refuses.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.staged_bytes += batch.get_array_memory_size();
        self.staged.push(batch.clone());
        self.rows += batch.num_rows() as u64;
        if self.staged_bytes > self.options.staged_bytes { self.drain().await } else { Ok(()) }
    }

    /// Writes the staged rows: as they came when few partitions are open, else one workspace after the other, so that a feed of very many
    /// workspaces does not end in a file for each workspace of each batch.
    async fn drain(&mut self) -> Result<()> {
        self.staged_bytes = 0;
        let staged = std::mem::take(&mut self.staged);
        for batch in &staged {
            self.note_partitions(batch)?;
        }
        if self.partitions.len() <= self.options.open_partitions {
            for batch in &staged {
                self.encode(batch).await?;
            }
            return Ok(());
        }
        for batch in by_workspace(&self.schema, &staged)? {
            self.note_partitions(&batch)?;
            if self.partitions.len() > self.options.open_partitions {
                self.finish_open().await?;
            }
            self.encode(&batch).await?;
        }
        self.finish_open().await
    }

    async fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.open.is_none() {
            self.open = Some(self.config_writer());
        }
        let Some(writer) = &mut self.open else { return Ok(()) };
        // The library panics when it cleans up after a write that failed, as on a full disk.
        match contained(writer.write(batch)).await {
            Ok(written) => written.map_err(|e| delta_error("cannot write rows", e)),
            Err(_) => Err(no_room()),
        }
    }

    /// Finishes all files and returns their add actions.
    pub async fn finish(mut self) -> Result<Vec<Add>> {
        self.drain().await?;
        self.finish_open().await?;
        Ok(std::mem::take(&mut self.finished))
    }

    fn config_writer(&self) -> DeltaWriter {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(1 << 20))
            .set_created_by(format!("lake {}", env!("CARGO_PKG_VERSION")))
            .build();
        let config = WriterConfig::new(
            self.schema.clone(),
            vec![WORKSPACE_COLUMN.to_string()],
            Some(properties),
            NonZeroU64::new(self.options.target_file_size),
            None,
            DataSkippingNumIndexedCols::NumColumns(self.stats_count),
            self.stats_columns.clone(),
        );
        DeltaWriter::new(self.store.clone(), config)
    }

    fn note_partitions(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = batch
            .column_by_name(WORKSPACE_COLUMN)
            .and_then(|c| c.as_string_opt::<i32>())
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a batch to write has no text column `workspace_id`"))?;
        let mut last = None;
        for value in column.iter().flatten() {
            if last != Some(value) {
                if !self.partitions.contains(value) {
                    self.partitions.insert(value.to_string());
                }
                last = Some(value);
            }
        }
        Ok(())
    }

    async fn finish_open(&mut self) -> Result<()> {
        self.partitions.clear();
        if let Some(writer) = self.open.take() {
            let closed = contained(writer.close()).await.map_err(|_| no_room())?;
            self.finished.extend(closed.map_err(|e| delta_error("cannot finish a file", e))?);
        }
        Ok(())
    }
}

fn no_room() -> Error {
    Error::new(ErrorKind::Storage, "a file of the table cannot be written")
        .with_hint("see that the disk has room and may be written to; nothing was committed, and a rerun goes on from here")
}

/// The rows of `batches` in one batch for each workspace, in the order they came.
fn by_workspace(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let internal = |e: ArrowError| Error::new(ErrorKind::Internal, "cannot order rows by workspace").with_source(e);
    let all = concat_batches(schema, batches).map_err(internal)?;
    let index = schema.index_of(WORKSPACE_COLUMN).map_err(internal)?;
    let order = sort_to_indices(all.column(index), None, None).map_err(internal)?;
    let sorted = take_record_batch(&all, &order).map_err(internal)?;
    let ranges = partition(std::slice::from_ref(sorted.column(index))).map_err(internal)?.ranges();
    Ok(ranges.into_iter().map(|r| sorted.slice(r.start, r.len())).collect())
}

/// `batch` with the columns of `schema`, by name: missing ones are null, others are cast without loss of a value.
///
/// # Errors
/// [`ErrorKind::Internal`] when a value cannot be cast.
pub fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let strict = CastOptions { safe: false, ..Default::default() };
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            Some(column) if column.data_type() == field.data_type() => Ok(column.clone()),
            Some(column) => cast_column(column, field.data_type(), &strict),
        })
        .collect::<std::result::Result<Vec<_>, DataFusionError>>()
        .and_then(|columns| Ok(RecordBatch::try_new(schema.clone(), columns)?))
        .map_err(|e| Error::new(ErrorKind::Internal, "rows do not fit the table's columns").with_source(e))?;
    Ok(columns)
}

/// `schema` with the partition column last.
pub fn with_workspace(schema: &Schema) -> SchemaRef {
    let rows = schema.fields().iter().filter(|f| f.name() != WORKSPACE_COLUMN).cloned();
    let workspace = Arc::new(arrow::datatypes::Field::new(WORKSPACE_COLUMN, arrow::datatypes::DataType::Utf8, true));
    Arc::new(Schema::new(rows.chain([workspace]).collect::<Vec<_>>()))
}

/// `schema` without the partition column.
pub fn without_workspace(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().filter(|f| f.name() != WORKSPACE_COLUMN).cloned().collect::<Vec<_>>()))
}
