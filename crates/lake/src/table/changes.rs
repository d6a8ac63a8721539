//! Which rows of a table came and went since a version, as files and places in them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::RowSelection;

use crate::error::Result;
use crate::row_set::RowSet;
use crate::storage::explain;
use crate::table::log::{CommitFiles, LoggedFile};
use crate::table::moves::Moves;
use crate::table::progress::Scope;
use crate::table::snapshot::{DataFile, Snapshot};

/// How many files are looked up at a time.
const CONCURRENT_LOOKUPS: usize = 16;

/// So few files are looked up without asking which of them must be.
const FEW_LOOKUPS: usize = 32;

/// What one commit did to the rows in scope. Rows that it only moved from a file to another may be named among both, which costs time but does
/// no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChanges {
    /// The commit's version.
    pub version: i64,
    /// Whether the table's columns changed with it, so that rows of files before and after are not to be compared.
    pub columns_changed: bool,
    /// Rows that went with their files.
    pub removed: Vec<FileRows>,
    /// Rows that came with new files.
    pub added: Vec<FileRows>,
}

/// Rows of one data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRows {
    /// The file.
    pub file: LoggedFile,
    /// Those of its rows that are meant; `None` for all.
    pub rows: Option<Positions>,
}

/// Places of rows in a file, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    ranges: Vec<Range<usize>>,
    of: usize,
}

impl Positions {
    /// The rows of `ranges`, which are sorted and do not overlap, in a file of `of` rows.
    pub fn new(ranges: Vec<Range<usize>>, of: usize) -> Self {
        Self { ranges, of }
    }

    /// The rows of `set` in a file of `of` rows.
    pub(crate) fn of_set(set: &RowSet, of: usize) -> Self {
        let mut ranges: Vec<Range<usize>> = vec![];
        for row in set.iter().filter_map(|row| usize::try_from(row).ok()) {
            match ranges.last_mut() {
                Some(last) if last.end == row => last.end += 1,
                _ => ranges.push(row..row + 1),
            }
        }
        Self { ranges, of }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// What Parquet's readers take.
    pub(crate) fn selection(&self) -> RowSelection {
        RowSelection::from_consecutive_ranges(self.ranges.iter().cloned(), self.of)
    }

    /// Rows of the file.
    pub(crate) fn of(&self) -> usize {
        self.of
    }
}

/// Rows that changed, ready to be read.
#[derive(Debug, Clone)]
pub struct ChangedScan {
    /// Rows that came and rows that went.
    pub all: Arc<dyn TableProvider>,
    /// Rows that went, when there are some.
    pub gone: Option<Arc<dyn TableProvider>>,
    /// Rows that came, when there are some and others that went.
    pub came: Option<Arc<dyn TableProvider>>,
    /// About the bytes that they take in their files.
    pub bytes: u64,
}

impl FileRows {
    /// About the bytes that the rows take in the file; 0 where the log does not tell its size.
    pub fn bytes(&self) -> u64 {
        share(self.file.size, self.rows.as_ref())
    }
}

impl Snapshot {
    /// What each commit after `after` did to the rows in `scope`, in order; `None` when part of that history is gone.
    ///
    /// A row that is in the table's state at `after` and not in this one, or the other way round, is always among them. A file that came and went
    /// in between is named too, since rows may have been moved into it before they went.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] when the log cannot be read.
    pub async fn row_changes_since(&self, after: i64, scope: &Scope) -> Result<Option<Vec<RowChanges>>> {
        let Some(commits) = self.changes_since(after).await? else { return Ok(None) };
        let mut changes = vec![];
        for commit in commits {
            let moves = match &commit.moves {
                Some(name) => self.kept_moves(name).await?.unwrap_or_default(),
                None => Moves::default(),
            };
            let own = |f: &LoggedFile| scope.holds(f.workspace.as_deref());
            let mut left: HashMap<Path, LoggedFile> =
                commit.removed.into_iter().filter(own).map(|file| (file.path.clone(), file)).collect();
            let (mut removed, mut added) = (vec![], vec![]);
            for file in commit.added.into_iter().filter(own).filter(|file| !moves.moved.contains(&file.path)) {
                match left.remove(&file.path) {
                    Some(before) => self.marked(before, file, &mut removed, &mut added).await?,
                    None => added.push(FileRows { file, rows: None }),
                }
            }
            removed.extend(left.into_values().map(|file| FileRows { rows: moves.gone_from(&file.path), file }));
            removed.sort_by(|a, b| a.file.path.cmp(&b.file.path));
            let CommitFiles { version, columns_changed, .. } = commit;
            changes.push(RowChanges { version, columns_changed, removed, added });
        }
        Ok(Some(changes))
    }

    /// What became of the rows of a file that stays while others of its rows are deleted than before; all of them where that cannot be told.
    async fn marked(
        &self,
        before: LoggedFile,
        after: LoggedFile,
        removed: &mut Vec<FileRows>,
        added: &mut Vec<FileRows>,
    ) -> Result<()> {
        let known = (self.deleted_rows_then(&before).await?, self.deleted_rows_then(&after).await?);
        let held = after.rows_held.and_then(|rows| usize::try_from(rows).ok());
        let ((Some(was), Some(is)), Some(held)) = (known, held) else {
            removed.push(FileRows { file: before, rows: None });
            added.push(FileRows { file: after, rows: None });
            return Ok(());
        };
        for (file, mut rows, others, changed) in [(before, is.clone(), &was, removed), (after, was.clone(), &is, added)] {
            rows.remove_all(others);
            if !rows.is_empty() {
                changed.push(FileRows { file, rows: Some(Positions::of_set(&rows, held)) });
            }
        }
        Ok(())
    }

    /// The deleted rows of a file; `None` when the list of them is gone.
    async fn deleted_rows_then(&self, file: &LoggedFile) -> Result<Option<RowSet>> {
        let store = self.delta().log_store().object_store(None);
        match &file.deleted {
            Some(vector) if !vector.is_there(store.as_ref()).await? => Ok(None),
            vector => self.deleted_rows(vector.as_ref()).await.map(Some),
        }
    }

    /// A scan of rows that changed; `None` when a file of them is no more.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] when the store does not tell.
    pub async fn scan_changed(&self, added: &[FileRows], removed: &[FileRows]) -> Result<Option<ChangedScan>> {
        let (Some(gone), Some(came)) = (self.found(removed).await?, self.found(added).await?) else { return Ok(None) };
        let bytes = gone.iter().chain(&came).map(|(file, rows)| share(file.size, rows.as_ref())).sum();
        let gone_scan = (!gone.is_empty()).then(|| self.scan_rows(gone.clone()));
        let came_scan = (!gone.is_empty() && !came.is_empty()).then(|| self.scan_rows(came.clone()));
        let all = self.scan_rows(gone.into_iter().chain(came).collect());
        Ok(Some(ChangedScan { all, gone: gone_scan, came: came_scan, bytes }))
    }

    /// The files with their sizes, which the log need not tell of removed ones.
    async fn found(&self, files: &[FileRows]) -> Result<Option<Vec<(DataFile, Option<Positions>)>>> {
        let store = self.delta().log_store().object_store(None);
        // Files of this version need no look; to list them all pays for many.
        let listed = if files.len() > FEW_LOOKUPS { self.files(&Scope::Feed)? } else { vec![] };
        let there: HashSet<Path> = listed.into_iter().map(|f| f.path).collect();
        let found = futures::stream::iter(files.to_vec())
            .map(|FileRows { file, rows }| {
                let (store, is_there) = (store.clone(), file.size > 0 && there.contains(&file.path));
                async move {
                    let size = match is_there {
                        true => file.size,
                        false => match store.head(&file.path).await {
                            Ok(meta) => meta.size,
                            Err(object_store::Error::NotFound { .. }) => return Ok(None),
                            Err(error) => return Err(explain("cannot look up a file of a table", error)),
                        },
                    };
                    if let Some(vector) = &file.deleted
                        && !vector.is_there(store.as_ref()).await?
                    {
                        return Ok(None);
                    }
                    let LoggedFile { path, workspace, deleted, .. } = file;
                    Ok(Some((DataFile { path, size, rows: None, workspace, stats: None, deleted }, rows)))
                }
            })
            .buffered(CONCURRENT_LOOKUPS);
        let found: Vec<Option<_>> = found.try_collect().await?;
        Ok(found.into_iter().collect())
    }
}

/// The bytes of a file's rows that are meant.
fn share(size: u64, rows: Option<&Positions>) -> u64 {
    let Some(rows) = rows else { return size };
    let (count, of) = (rows.count() as u128, rows.of().max(1) as u128);
    u64::try_from(u128::from(size) * count / of).unwrap_or(size)
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::Lake;
    use crate::pipeline::TableName;
    use crate::report::Strategy;
    use crate::table::{At, Change, SchemaChange, TableWriter, WriterOptions, with_workspace};

    struct Bench {
        lake: Lake,
        name: TableName,
        _folder: tempfile::TempDir,
    }

    fn schema() -> Schema {
        Schema::new(vec![Field::new("id", DataType::Int64, true)])
    }

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let lake = Lake::builder().uri(folder.path().to_str().unwrap()).build().unwrap();
            let name: TableName = "silver.notes".parse().unwrap();
            Snapshot::create(lake.root(), &name, &schema(), &["id".into()], None).await.unwrap();
            Self { lake, name, _folder: folder }
        }

        async fn open(&self) -> Snapshot {
            self.lake.snapshot(&self.name, At::Latest).await.unwrap().unwrap()
        }

        /// Replaces the files of `workspace` by one with rows `ids`.
        async fn replace(&self, workspace: &str, ids: std::ops::Range<i64>) {
            let table = self.open().await;
            let schema = with_workspace(&schema());
            let mut writer = TableWriter::new(&table, schema.clone(), WriterOptions::of(self.lake.engine()));
            let owners = StringArray::from(vec![workspace; ids.clone().count()]);
            let batch =
                RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(owners)]).unwrap();
            writer.write(&batch).await.unwrap();
            let own = table.files(&Scope::Feed).unwrap().into_iter().filter(|f| f.workspace.as_deref() == Some(workspace));
            let removes: HashSet<_> = own.map(|f| f.path).collect();
            let change = Change { adds: writer.finish().await.unwrap(), removes, ..Default::default() };
            table.commit(change, Strategy::Replace, "test").await.unwrap();
        }
    }

    async fn ids(table: Arc<dyn TableProvider>) -> Vec<i64> {
        let session = SessionContext::new();
        let batches = session.read_table(table).unwrap().collect().await.unwrap();
        let mut ids: Vec<i64> = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        ids.sort_unstable();
        ids
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_that_came_and_went_are_read_whole_or_by_their_places() {
        let bench = Bench::new().await;
        bench.replace("acme", 0..10).await;
        bench.replace("globex", 50..60).await;
        let before = bench.open().await.version();
        bench.replace("acme", 5..15).await;
        let table = bench.open().await;
        let acme = Scope::Workspace(crate::WorkspaceId::new("acme").unwrap());
        let globex = Scope::Workspace(crate::WorkspaceId::new("globex").unwrap());
        let changes = table.row_changes_since(before, &acme).await.unwrap().unwrap();
        let [change] = changes.as_slice() else { panic!("{changes:?}") };
        assert!(!change.columns_changed && change.version == table.version());
        let others = table.row_changes_since(before, &globex).await.unwrap().unwrap();
        assert!(others.iter().all(|c| c.added.is_empty() && c.removed.is_empty()));

        let scan = table.scan_changed(&change.added, &change.removed).await.unwrap().unwrap();
        assert_eq!(ids(scan.all).await, [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 11, 12, 13, 14]);
        assert_eq!(ids(scan.gone.unwrap()).await, (0..10).collect::<Vec<_>>());

        let places = |files: &[FileRows], ranges: Vec<Range<usize>>| {
            let rows = Some(Positions::new(ranges, 10));
            files.iter().map(|f| FileRows { rows: rows.clone(), ..f.clone() }).collect::<Vec<_>>()
        };
        let (added, removed) = (places(&change.added, vec![5..6, 8..10]), places(&change.removed, vec![0..1, 1..2]));
        let part = table.scan_changed(&added, &removed).await.unwrap().unwrap();
        assert_eq!(ids(part.all).await, [0, 1, 10, 13, 14]);
        assert_eq!(ids(part.gone.unwrap()).await, [0, 1]);
        assert!(part.bytes < scan.bytes);
        let none = table.scan_changed(&places(&change.added, vec![]), &[]).await.unwrap().unwrap();
        assert!(ids(none.all).await.is_empty() && none.gone.is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_of_a_file_that_is_no_more_cannot_be_told() {
        let bench = Bench::new().await;
        bench.replace("acme", 0..10).await;
        let before = bench.open().await;
        bench.replace("acme", 5..15).await;
        let table = bench.open().await;
        let changes = table.row_changes_since(before.version(), &Scope::Feed).await.unwrap().unwrap();
        let gone = &changes[0].removed[0];
        table.delta().log_store().object_store(None).delete(&gone.file.path).await.unwrap();
        assert!(table.scan_changed(&changes[0].added, &changes[0].removed).await.unwrap().is_none());
        assert!(table.scan_changed(&changes[0].added, &[]).await.unwrap().is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_of_columns_is_told() {
        let bench = Bench::new().await;
        let table = bench.open().await;
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true), Field::new("text", DataType::Utf8, true)]);
        let change = Change { schema: Some(SchemaChange { schema, stats_columns: None }), ..Default::default() };
        table.commit(change, Strategy::Append, "test").await.unwrap();
        let changes = bench.open().await.row_changes_since(table.version(), &Scope::Feed).await.unwrap().unwrap();
        assert!(changes.iter().all(|c| c.columns_changed) && changes.len() == 1);
    }
}
