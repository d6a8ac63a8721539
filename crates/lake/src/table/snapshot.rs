//! A table at a version: its schema, its list of files, and how far it has come.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use deltalake::DeltaTable;
use deltalake::kernel::Action;
use object_store::path::Path;
use tokio::sync::OnceCell;

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::TableName;
use crate::storage::Root;
use crate::table::changes::Positions;
use crate::table::commit::delta_error;
use crate::table::deletion_vector::DeletionVector;
use crate::table::footprint::Footprint;
use crate::table::history::At;
use crate::table::log::{self, CommitFiles, Mentions};
use crate::table::opened::Since;
use crate::table::progress::{Progress, Scope};
use crate::table::scan::{FILE_COLUMN, FileScan};
use crate::workspace_id::{UNASSIGNED, WORKSPACE_COLUMN};

/// One data file of a table, as the scan needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFile {
    /// Path below the table's folder.
    pub path: Path,
    /// Bytes.
    pub size: u64,
    /// Rows that are not deleted, where the log says.
    pub rows: Option<u64>,
    /// The partition's workspace; `None` for rows without one.
    pub workspace: Option<String>,
    /// The log's statistics of the file, as JSON.
    pub stats: Option<String>,
    /// Rows that are deleted though the file holds them.
    pub deleted: Option<DeletionVector>,
}

impl DataFile {
    /// Rows that the file holds, deleted ones included, where the log says.
    pub(crate) fn rows_held(&self) -> Option<u64> {
        self.rows.map(|rows| rows + self.deleted.as_ref().map_or(0, DeletionVector::count))
    }
}

/// A Delta table of the lake at one version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshot {
    name: TableName,
    delta: DeltaTable,
    schema: SchemaRef,
    footprint: Option<Footprint>,
    progress: Arc<OnceCell<Progress>>,
}

impl Snapshot {
    /// Opens `name` at `at`; `None` when there is no such table.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the log cannot be read, [`ErrorKind::NotFound`] when it has no such version.
    pub async fn open(root: &Root, name: &TableName, at: At) -> Result<Option<Self>> {
        let url = root.join(&folder(name))?;
        if let Ok(path) = url.to_file_path()
            && !path.join("_delta_log").is_dir()
        {
            return Ok(None);
        }
        let refused = |e| delta_error(&format!("cannot open `{name}`"), e);
        let builder = || {
            let builder = deltalake::DeltaTableBuilder::from_url(url.clone()).map_err(refused)?;
            Ok(builder.with_storage_backend(root.bucket()?, root.join(&folder(name))?))
        };
        if at == At::Latest
            && let Some(known) = Self::known(root, name, || builder()?.build().map_err(refused)).await?
        {
            return Ok(Some(known));
        }
        let builder = builder()?;
        let builder = match at {
            At::Latest => builder,
            At::Version(v) => builder.with_version(u64::try_from(v).map_err(|_| no_version(name, v))?),
            At::Time(t) => builder.with_timestamp(t),
        };
        match builder.load().await {
            Ok(delta) => {
                let table = Self::new(name.clone(), delta)?.of_root(root);
                if at == At::Latest {
                    root.opened().keep(name, &table.delta, &table.progress).await;
                }
                Ok(Some(table))
            }
            Err(deltalake::DeltaTableError::NotATable(_)) => Ok(None),
            Err(e) => match at {
                At::Version(v) => Err(no_version(name, v).with_source(e)),
                _ => Err(delta_error(&format!("cannot open `{name}`"), e)),
            },
        }
    }

    /// The table by what is known of it, when it was opened before.
    async fn known(root: &Root, name: &TableName, unread: impl Fn() -> Result<DeltaTable>) -> Result<Option<Self>> {
        let Some(known) = root.opened().get(name) else { return Ok(None) };
        let Some((mut delta, since)) = known.since(unread()?).await else { return Ok(None) };
        match since {
            Since::Same => {
                let table = Self::new(name.clone(), delta)?.of_root(root);
                Ok(Some(Self { progress: known.progress, ..table }))
            }
            // What cannot be brought up to date is read anew.
            Since::Later if delta.update_state().await.is_err() => Ok(None),
            Since::Later => {
                let table = Self::new(name.clone(), delta)?.of_root(root);
                root.opened().keep(name, &table.delta, &table.progress).await;
                Ok(Some(table))
            }
        }
    }

    pub(crate) fn new(name: TableName, delta: DeltaTable) -> Result<Self> {
        let state = delta.snapshot().map_err(|e| delta_error(&format!("cannot read `{name}`"), e))?;
        let full = state.snapshot().arrow_schema();
        let rows = full.fields().iter().filter(|f| f.name() != WORKSPACE_COLUMN).cloned();
        let workspace = Arc::new(Field::new(WORKSPACE_COLUMN, arrow::datatypes::DataType::Utf8, true));
        let schema = Arc::new(Schema::new(rows.chain([workspace]).collect::<Vec<_>>()));
        Ok(Self { name, delta, schema, footprint: None, progress: Arc::default() })
    }

    /// With the footprint of the root that it was reached by.
    pub(crate) fn of_root(mut self, root: &Root) -> Self {
        self.footprint = root.footprint().cloned();
        self
    }

    /// What a job touches, where it is noted.
    pub(crate) fn footprint(&self) -> Option<&Footprint> {
        self.footprint.as_ref()
    }

    /// `layer.name`.
    pub fn name(&self) -> &TableName {
        &self.name
    }

    /// The version.
    pub fn version(&self) -> i64 {
        self.delta.version().and_then(|v| i64::try_from(v).ok()).unwrap_or_default()
    }

    /// The columns, `workspace_id` last.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The Delta table below, for operations this SDK does not wrap.
    pub fn delta(&self) -> &DeltaTable {
        &self.delta
    }

    /// The files that hold the rows of `scope`, by path.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the log's state is not readable.
    pub fn files(&self, scope: &Scope) -> Result<Vec<DataFile>> {
        Ok(self.all_files()?.into_iter().filter(|f| scope.holds(f.workspace.as_deref())).collect())
    }

    /// The files with rows that belong to no workspace, for those who look after the lake; their rows cannot be read through it.
    ///
    /// # Errors
    /// As [`Snapshot::files`].
    pub fn unassigned_files(&self) -> Result<Vec<DataFile>> {
        Ok(self.all_files()?.into_iter().filter(|f| f.workspace.as_deref().is_none_or(|w| w == UNASSIGNED)).collect())
    }

    fn all_files(&self) -> Result<Vec<DataFile>> {
        let state = self.delta.snapshot().map_err(|e| delta_error("cannot read the table's files", e))?;
        let data = state.snapshot().try_log_data().map_err(|e| delta_error("cannot read the table's files", e))?;
        let mut files: Vec<DataFile> = data
            .iter()
            .map(|view| {
                let deleted: Option<DeletionVector> = view.deletion_vector_descriptor().map(DeletionVector::from);
                let hidden = deleted.as_ref().map_or(0, DeletionVector::count);
                DataFile {
                    path: view.object_store_path(),
                    size: u64::try_from(view.size()).unwrap_or_default(),
                    rows: view.num_records().map(|n| (n as u64).saturating_sub(hidden)),
                    workspace: view.partition_values_map().remove(WORKSPACE_COLUMN).flatten(),
                    stats: view.stats(),
                    deleted,
                }
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The files at `paths`, of whatever workspace.
    pub(crate) fn files_at(&self, paths: &HashSet<Path>) -> Result<Vec<DataFile>> {
        if paths.is_empty() {
            return Ok(vec![]);
        }
        Ok(self.all_files()?.into_iter().filter(|f| paths.contains(&f.path)).collect())
    }

    /// Remove actions for the files at `paths`.
    pub(crate) fn removals(&self, paths: &HashSet<Path>) -> Result<Vec<Action>> {
        let state = self.delta.snapshot().map_err(|e| delta_error("cannot read the table's files", e))?;
        let data = state.snapshot().try_log_data().map_err(|e| delta_error("cannot read the table's files", e))?;
        Ok(data
            .iter()
            .filter(|view| paths.contains(&view.object_store_path()))
            .map(|view| Action::Remove(view.remove_action(true)))
            .collect())
    }

    /// A provider of the rows of `scope` at this version.
    pub async fn provider(&self, scope: &Scope) -> Result<Arc<dyn TableProvider>> {
        Ok(self.scan_files(self.files(scope)?))
    }

    /// A provider of the rows of `files`, which must be files of this snapshot, without those that are deleted.
    pub fn scan_files(&self, files: Vec<DataFile>) -> Arc<dyn TableProvider> {
        Arc::new(self.scan(files))
    }

    /// As [`Snapshot::scan_files`], of some of the rows of each file. The files need not be of this snapshot.
    pub(crate) fn scan_rows(&self, files: Vec<(DataFile, Option<Positions>)>) -> Arc<dyn TableProvider> {
        let (files, rows) = files.into_iter().unzip();
        Arc::new(self.scan(files).with_rows(rows))
    }

    /// As [`Snapshot::scan_files`], with the column [`FILE_COLUMN`]: the index of each row's file in `files`.
    pub fn scan_files_numbered(&self, files: Vec<DataFile>) -> Arc<dyn TableProvider> {
        Arc::new(self.scan(files).with_file_column())
    }

    /// As [`Snapshot::scan_files_numbered`], with [`PLACE_COLUMN`] too: each row's place in its file, from 0.
    pub(crate) fn scan_places(&self, files: Vec<DataFile>) -> Arc<dyn TableProvider> {
        Arc::new(self.scan(files).with_places())
    }

    /// The name of the column that [`Snapshot::scan_files_numbered`] adds.
    pub fn file_column() -> &'static str {
        FILE_COLUMN
    }

    fn scan(&self, files: Vec<DataFile>) -> FileScan {
        let number = self.footprint.as_ref().map(Footprint::number);
        FileScan::new(self.schema.clone(), self.delta.log_store().object_store(None), self.delta.table_url(), number, files)
    }

    /// How far this table has come.
    pub async fn progress(&self) -> Result<Progress> {
        let log = self.delta.log_store();
        let read = || async { log::transactions(log.as_ref(), self.version()).await.map(Progress::new) };
        self.progress.get_or_try_init(read).await.cloned()
    }

    /// What each commit after `after` did to the files; `None` when part of that history is gone.
    pub async fn changes_since(&self, after: i64) -> Result<Option<Vec<CommitFiles>>> {
        let log = self.delta.log_store();
        log::commits(log.as_ref(), after, self.version(), Mentions::Rows).await
    }
}

/// The folder of a table below the root.
pub(crate) fn folder(name: &TableName) -> String {
    format!("{}/{}", name.layer, name.name)
}

fn no_version(name: &TableName, version: i64) -> Error {
    Error::new(ErrorKind::NotFound, format!("`{name}` has no version {version}"))
        .with_hint("`lake status` shows the versions of a table")
}
