//! Writing rows to Parquet files of a table, before any commit mentions them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, interleave_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::common::nested_struct::cast_column;
use deltalake::kernel::Add;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

use crate::budget::Budget;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::TableName;
use crate::storage::explain;
use crate::table::encode::{OpenFile, path};
use crate::table::footprint::Footprint;
use crate::table::small::{SMALL, SmallFile, SmallFiles};
use crate::table::snapshot::Snapshot;
use crate::table::statistics::StatsColumns;
use crate::table::tuning::Tuning;
use crate::table::upload::Uploads;
use crate::table::waiting::{Overflow, Waiting};
use crate::workspace_id::WORKSPACE_COLUMN;

/// How files are written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// At most this many partitions have an open file at a time.
    pub open_partitions: usize,
    /// The memory that a writer shares.
    pub budget: Budget,
    /// Where encoded bytes wait until their file is complete.
    pub folder: PathBuf,
    /// Threads that encode.
    pub threads: usize,
}

impl WriterOptions {
    /// Within the budget of `engine`, in its folder to spill to.
    pub fn of(engine: &Engine) -> Self {
        Self { open_partitions: 256, budget: engine.budget(), folder: engine.spill_folder(), threads: engine.threads() }
    }
}

/// Streams rows into Parquet files, one or more for each workspace. Files that are written but never committed are
/// invisible to readers and are removed by `vacuum`.
///
/// The memory it takes does not grow with the number of workspaces: when the row groups being encoded exceed their share, the greatest of them is
/// ended.
pub struct TableWriter {
    schema: SchemaRef,
    stats: StatsColumns,
    options: WriterOptions,
    place: Place,
    tuning: Option<Tuning>,
    staged: Vec<RecordBatch>,
    staged_bytes: usize,
    open: HashMap<String, OpenFile>,
    /// Bytes of the row groups of all open files.
    held: usize,
    uploads: Uploads,
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
        let store = table.delta().log_store().object_store(None);
        Self {
            schema,
            stats: StatsColumns::of(table),
            place: Place::of(table),
            tuning: None,
            uploads: Uploads::new(store, options.budget.uploads()),
            options,
            staged: vec![],
            staged_bytes: 0,
            open: HashMap::new(),
            held: 0,
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
        self.end_workspace().await?;
        self.schema = schema;
        Ok(())
    }

    /// Writes a batch whose columns are exactly those of [`TableWriter::schema`].
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the columns differ or a row has no workspace, [`ErrorKind::Storage`] when the store refuses.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if workspaces(batch)?.null_count() > 0 {
            return Err(Error::new(ErrorKind::Internal, "a row to write has no workspace"));
        }
        self.write_assigned(batch).await
    }

    /// As [`TableWriter::write`], but passes over rows without a workspace, so that they need not be parted from the others before.
    ///
    /// # Errors
    /// As [`TableWriter::write`].
    pub async fn write_assigned(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows() - workspaces(batch)?.null_count();
        if rows == 0 {
            return Ok(());
        }
        if batch.schema().fields() != self.schema.fields() {
            return Err(Error::new(ErrorKind::Internal, "a batch to write has other columns than its table"));
        }
        self.staged_bytes += batch.get_array_memory_size();
        self.staged.push(batch.clone());
        self.rows += rows as u64;
        if self.staged_bytes > self.options.budget.staged() { self.drain().await } else { Ok(()) }
    }

    /// Writes the staged rows: as they came when few partitions are open, else one workspace after the other, so that a feed of very many
    /// workspaces does not end in a file for each workspace of each batch.
    async fn drain(&mut self) -> Result<()> {
        self.staged_bytes = 0;
        let staged = std::mem::take(&mut self.staged);
        if self.partitions_with(&staged)? <= self.options.open_partitions {
            for rows in by_workspace(&staged)? {
                self.encode(&rows).await?;
            }
            return Ok(());
        }
        let sorted = by_workspace(&staged)?;
        drop(staged);
        let mut small = None;
        for batches in sorted.chunk_by(same_workspace) {
            let Some(first) = batches.first() else { continue };
            let (workspace, rows) = parted(first)?;
            let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
            if bytes <= SMALL && !self.open.contains_key(&workspace) {
                let small = small.get_or_insert_with(|| self.small_files(&rows));
                let file = self.small_file(workspace, batches)?;
                for made in small.add(file).await? {
                    self.uploads.start(made).await?;
                }
                continue;
            }
            if !self.open.contains_key(&workspace) && self.open.len() >= self.options.open_partitions {
                self.finish_open().await?;
            }
            for rows in batches {
                self.encode(rows).await?;
            }
        }
        if let Some(small) = small {
            for made in small.finish().await? {
                self.uploads.start(made).await?;
            }
        }
        self.finish_open().await
    }

    fn small_files(&mut self, rows: &RecordBatch) -> SmallFiles {
        let properties = self.tuning.get_or_insert_with(|| Tuning::of(rows)).properties(rows.schema_ref(), &self.stats);
        SmallFiles::new(properties, self.stats.clone(), self.options.budget.row_group(), self.options.threads)
    }

    /// A file of all rows of `workspace` in `batches`. On a local disk its bytes go to their place right away.
    fn small_file(&mut self, workspace: String, batches: &[RecordBatch]) -> Result<SmallFile> {
        let path = path(&workspace)?;
        let limit = if self.place.local.is_some() { 0 } else { self.options.budget.encoded() };
        let waiting = Waiting::new(limit, self.place.overflow(&path, &self.options.folder)?);
        self.place.note(&path);
        let rows = batches.iter().map(|batch| Ok(parted(batch)?.1)).collect::<Result<_>>()?;
        Ok(SmallFile { path, workspace, rows, waiting })
    }

    /// How many partitions would be open with those of `staged`.
    fn partitions_with(&self, staged: &[RecordBatch]) -> Result<usize> {
        let mut fresh = HashSet::new();
        for batch in staged {
            let mut last = None;
            for workspace in workspaces(batch)?.iter() {
                if last != Some(workspace) {
                    fresh.extend(workspace.filter(|w| !self.open.contains_key(*w)));
                    last = Some(workspace);
                }
            }
        }
        Ok(self.open.len() + fresh.len())
    }

    /// Encodes rows of one workspace.
    async fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        let (workspace, rows) = parted(batch)?;
        for step in OpenFile::steps(&rows) {
            let file = match self.open.remove(&workspace) {
                Some(file) => file,
                None => self.create(&workspace, &step)?,
            };
            let file = self.open.entry(workspace.clone()).or_insert(file);
            let before = file.held();
            file.write(&step, self.options.threads)?;
            self.held = (self.held + file.held()).saturating_sub(before);
            if file.size() >= self.options.budget.file() {
                self.finish_file(&workspace).await?;
            }
            self.end_great_row_groups()?;
        }
        Ok(())
    }

    /// A file of `workspace`, of which `rows` are the first.
    fn create(&mut self, workspace: &str, rows: &RecordBatch) -> Result<OpenFile> {
        let path = path(workspace)?;
        let waiting = Waiting::new(self.options.budget.encoded(), self.place.overflow(&path, &self.options.folder)?);
        let tuning = self.tuning.get_or_insert_with(|| Tuning::of(rows));
        let properties = tuning.properties(rows.schema_ref(), &self.stats);
        OpenFile::create(path, workspace, rows.schema_ref(), properties, waiting, self.options.budget.row_group())
    }

    fn end_great_row_groups(&mut self) -> Result<()> {
        while self.held > self.options.budget.encoding() {
            let Some(greatest) = self.open.values_mut().max_by_key(|f| f.held()) else { return Ok(()) };
            let held = greatest.held();
            greatest.end_row_group()?;
            self.held -= held.min(self.held);
        }
        Ok(())
    }

    async fn finish_file(&mut self, workspace: &str) -> Result<()> {
        let Some(file) = self.open.remove(workspace) else { return Ok(()) };
        self.held -= file.held().min(self.held);
        let file = file.finish(&self.stats)?;
        self.place.note(&file.path);
        self.uploads.start(file).await
    }

    async fn finish_open(&mut self) -> Result<()> {
        let mut open: Vec<String> = self.open.keys().cloned().collect();
        open.sort_unstable();
        for workspace in open {
            self.finish_file(&workspace).await?;
        }
        Ok(())
    }

    /// Finishes the files that are open, where the rows to come are of other workspaces.
    pub async fn end_workspace(&mut self) -> Result<()> {
        self.drain().await?;
        self.finish_open().await
    }

    /// Finishes all files and returns their add actions.
    pub async fn finish(mut self) -> Result<Vec<Add>> {
        self.end_workspace().await?;
        self.uploads.finish().await
    }
}

/// Where a table's files are.
struct Place {
    /// The table's folder, when it is on a local disk.
    local: Option<LocalFileSystem>,
    footprint: Option<Footprint>,
    table: TableName,
}

impl Place {
    fn of(table: &Snapshot) -> Self {
        let folder = table.delta().table_url().to_file_path().ok();
        let local = folder.and_then(|folder| LocalFileSystem::new_with_prefix(folder).ok());
        Self { local, footprint: table.footprint().cloned(), table: table.name().clone() }
    }

    /// Where the bytes of a file wait when they are too many for memory.
    fn overflow(&self, path: &Path, folder: &FilePath) -> Result<Overflow> {
        let Some(local) = &self.local else { return Ok(Overflow::Temporary(folder.to_path_buf())) };
        let target = local.path_to_filesystem(path).map_err(|e| explain("a file of the table has no place", e))?;
        Ok(Overflow::Beside(target))
    }

    /// Notes that a file is written, since one that gets its place by a name does not pass the store.
    fn note(&self, path: &Path) {
        if let Some(footprint) = &self.footprint {
            footprint.wrote(&self.table, path);
        }
    }
}

fn workspaces(batch: &RecordBatch) -> Result<&StringArray> {
    let column = batch.column_by_name(WORKSPACE_COLUMN).and_then(|c| c.as_string_opt::<i32>());
    column.ok_or_else(|| Error::new(ErrorKind::Internal, "a batch to write has no text column `workspace_id`"))
}

/// The workspace that all rows of `batch` are of, and its other columns.
fn parted(batch: &RecordBatch) -> Result<(String, RecordBatch)> {
    let names = workspaces(batch)?;
    let name = names.iter().next().flatten();
    let name = name.ok_or_else(|| Error::new(ErrorKind::Internal, "a row to write has no workspace"))?.to_string();
    let mut rows = batch.clone();
    if let Ok(index) = batch.schema().index_of(WORKSPACE_COLUMN) {
        rows.remove_column(index);
    }
    Ok((name, rows))
}

/// The rows of `batches` by workspace: batches of one workspace as they are, rows of others together. No row is copied twice.
fn by_workspace(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    let internal = |e: ArrowError| Error::new(ErrorKind::Internal, "cannot order rows by workspace").with_source(e);
    let mut whole: Vec<RecordBatch> = vec![];
    let mut mixed: Vec<&RecordBatch> = vec![];
    let mut places: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
    for batch in batches {
        let names = workspaces(batch)?;
        if is_single(names) {
            whole.push(batch.clone());
            continue;
        }
        for (row, name) in names.iter().enumerate().filter_map(|(row, name)| Some((row, name?))) {
            places.entry(name).or_default().push((mixed.len(), row));
        }
        mixed.push(batch);
    }
    for rows in places.values() {
        whole.push(interleave_record_batch(&mixed, rows).map_err(internal)?);
    }
    // A file of another workspace is not begun while there are rows of this one.
    let mut named = whole.into_iter().map(|batch| Ok((parted(&batch)?.0, batch))).collect::<Result<Vec<_>>>()?;
    named.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(named.into_iter().map(|(_, batch)| batch).collect())
}

/// Whether the first rows of both are of one workspace.
fn same_workspace(a: &RecordBatch, b: &RecordBatch) -> bool {
    let first = |batch| workspaces(batch).ok().and_then(|names| names.iter().next().flatten().map(str::to_owned));
    first(a) == first(b)
}

fn is_single(names: &StringArray) -> bool {
    let first = names.iter().next();
    names.iter().all(|n| Some(n) == first)
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
