//! Which rows of a table came and went since a version, as files and places in them.

use std::ops::Range;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use crate::error::Result;
use crate::storage::explain;
use crate::table::log::LoggedFile;
use crate::table::progress::Scope;
use crate::table::snapshot::{DataFile, Snapshot};

/// How many files are looked up at a time.
const CONCURRENT_LOOKUPS: usize = 16;

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

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ranges.iter().map(ExactSizeIterator::len).sum()
    }

    /// The ranges.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.ranges.iter().cloned()
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
    /// About the bytes that they take in their files.
    pub bytes: u64,
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
        let whole = |files: Vec<LoggedFile>| {
            let own = files.into_iter().filter(|f| scope.holds(f.workspace.as_deref()));
            own.map(|file| FileRows { file, rows: None }).collect()
        };
        let changes = commits.into_iter().map(|commit| RowChanges {
            version: commit.version,
            columns_changed: commit.columns_changed,
            removed: whole(commit.removed),
            added: whole(commit.added),
        });
        Ok(Some(changes.collect()))
    }

    /// A scan of rows that changed; `None` when a file of them is no more.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] when the store does not tell.
    pub async fn scan_changed(&self, added: &[FileRows], removed: &[FileRows]) -> Result<Option<ChangedScan>> {
        let (Some(gone), Some(came)) = (self.found(removed).await?, self.found(added).await?) else { return Ok(None) };
        let bytes = gone.iter().chain(&came).map(|(file, rows)| share(file.size, rows.as_ref())).sum();
        let gone_scan = (!gone.is_empty()).then(|| self.scan_rows(gone.clone()));
        let all = self.scan_rows(gone.into_iter().chain(came).collect());
        Ok(Some(ChangedScan { all, gone: gone_scan, bytes }))
    }

    /// The files with their sizes, which the log need not tell of removed ones.
    async fn found(&self, files: &[FileRows]) -> Result<Option<Vec<(DataFile, Option<Positions>)>>> {
        let store = self.delta().log_store().object_store(None);
        let found = futures::stream::iter(files.to_vec())
            .map(|FileRows { file, rows }| {
                let store = store.clone();
                async move {
                    let size = match store.head(&file.path).await {
                        Ok(meta) => meta.size,
                        Err(object_store::Error::NotFound { .. }) => return Ok(None),
                        Err(error) => return Err(explain("cannot look up a file of a table", error)),
                    };
                    let (path, workspace) = (file.path, file.workspace);
                    Ok(Some((DataFile { path, size, rows: None, workspace, stats: None, has_deletion_vector: false }, rows)))
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
