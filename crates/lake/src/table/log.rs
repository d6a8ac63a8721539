//! Reading the Delta log itself: which files each commit added and removed, and every application transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use deltalake::kernel::DeletionVectorDescriptor;
use deltalake::logstore::LogStore;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::table::checkpoint;
use crate::table::commit::delta_error;
use crate::table::deletion_vector::DeletionVector;
use crate::workspace_id::WORKSPACE_COLUMN;

/// How many commit files are fetched at a time.
const CONCURRENT_READS: usize = 16;

/// A data file as one commit mentions it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedFile {
    /// Path below the table's folder, as the store knows it.
    pub path: Path,
    /// The workspace of the file's partition; `None` for rows without one.
    pub workspace: Option<String>,
    /// Bytes; 0 where the commit does not say (removals).
    pub size: u64,
    /// Rows that the file holds, where the commit says.
    pub rows_held: Option<u64>,
    /// Rows that are deleted though the file holds them.
    pub deleted: Option<DeletionVector>,
}

/// The data files that one commit added and removed. Commits that only rearrange rows have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFiles {
    /// The commit's version.
    pub version: i64,
    /// The run that made it, when a run of `lake` did.
    pub run_id: Option<String>,
    /// Whether the table's columns changed with it.
    pub columns_changed: bool,
    /// The name of what it knows of the rows it moved.
    pub(crate) moves: Option<String>,
    /// Files whose rows are new.
    pub added: Vec<LoggedFile>,
    /// Files whose rows are gone.
    pub removed: Vec<LoggedFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogLine {
    commit_info: Option<InfoLine>,
    add: Option<FileLine>,
    remove: Option<FileLine>,
    txn: Option<TransactionLine>,
    meta_data: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileLine {
    path: String,
    #[serde(default = "yes")]
    data_change: bool,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    partition_values: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    stats: Option<String>,
    #[serde(default)]
    deletion_vector: Option<DeletionVectorDescriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatsLine {
    num_records: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionLine {
    app_id: String,
    version: i64,
}

#[derive(Deserialize)]
struct InfoLine {
    #[serde(rename = "lake.run_id")]
    run_id: Option<String>,
    #[serde(rename = "lake.rows")]
    moves: Option<String>,
}

fn yes() -> bool {
    true
}

impl FileLine {
    fn into_file(self) -> LoggedFile {
        let workspace = self.partition_values.and_then(|mut v| v.remove(WORKSPACE_COLUMN)).flatten();
        // Who follows the rows of a file that stays while some of them go has to know how many there are.
        let stats = self.stats.filter(|_| self.deletion_vector.is_some());
        LoggedFile {
            path: store_path(&self.path),
            workspace,
            size: self.size.unwrap_or_default(),
            rows_held: stats.and_then(|s| serde_json::from_str::<StatsLine>(&s).ok()?.num_records),
            deleted: self.deletion_vector.map(DeletionVector::from),
        }
    }
}

/// The store's path for a path as the log writes it (percent-encoded once more than the store's).
fn store_path(logged: &str) -> Path {
    let decoded = percent_encoding::percent_decode_str(logged).decode_utf8_lossy();
    Path::parse(decoded.as_ref()).unwrap_or_else(|_| Path::from(decoded.as_ref()))
}

/// Which of the files that a commit mentions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mentions {
    /// Those whose rows came or went.
    Rows,
    /// All, those whose rows were only rearranged included.
    All,
}

/// What the commits after `after`, up to and with `to`, did to the table's files, in order; `None` when part of that history
/// has been cleaned up.
pub(crate) async fn commits(log: &dyn LogStore, after: i64, to: i64, mentions: Mentions) -> Result<Option<Vec<CommitFiles>>> {
    let found: Vec<Option<CommitFiles>> = futures::stream::iter(after + 1..=to)
        .map(|version| async move {
            let number = u64::try_from(version).unwrap_or_default();
            let bytes = log.read_commit_entry(number).await.map_err(|e| delta_error("cannot read the table's log", e))?;
            bytes.map(|b| commit_files(version, &b, mentions)).transpose()
        })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await?;
    Ok(found.into_iter().collect())
}

fn commit_files(version: i64, bytes: &Bytes, mentions: Mentions) -> Result<CommitFiles> {
    let mut files = CommitFiles { version, run_id: None, columns_changed: false, moves: None, added: vec![], removed: vec![] };
    let meant = |file: &FileLine| file.data_change || mentions == Mentions::All;
    for line in lines(bytes) {
        let line = line?;
        files.added.extend(line.add.filter(meant).map(FileLine::into_file));
        files.removed.extend(line.remove.filter(meant).map(FileLine::into_file));
        files.columns_changed |= line.meta_data.is_some();
        if let Some(info) = line.commit_info {
            (files.run_id, files.moves) = (files.run_id.or(info.run_id), files.moves.or(info.moves));
        }
    }
    Ok(files)
}

fn lines(bytes: &Bytes) -> impl Iterator<Item = Result<LogLine>> + '_ {
    bytes.split(|b| *b == b'\n').filter(|l| !l.iter().all(u8::is_ascii_whitespace)).map(|l| {
        serde_json::from_slice(l).map_err(|e| Error::new(ErrorKind::Storage, "the table's log is not readable").with_source(e))
    })
}

/// The oldest version that the log can still tell: where it starts, or its oldest checkpoint.
pub(crate) async fn oldest_version(store: &dyn ObjectStore, log: &Path) -> Result<i64> {
    let mut listing = store.list(Some(log));
    let mut oldest: Option<i64> = None;
    while let Some(object) = listing.try_next().await.map_err(checkpoint::store_error)? {
        let Some((version, kind)) = object.location.filename().and_then(|n| n.split_once('.')) else { continue };
        let Ok(version) = version.parse::<i64>() else { continue };
        if kind.starts_with("checkpoint") || version == 0 {
            oldest = Some(oldest.map_or(version, |o| o.min(version)));
        }
    }
    Ok(oldest.unwrap_or_default())
}

/// Every application transaction of the table at `version`: name to the latest number committed under it.
///
/// # Errors
/// [`ErrorKind::Storage`] when the log or its checkpoint cannot be read: to go on without would be to take files for new that were read long ago.
pub(crate) async fn transactions(log: &dyn LogStore, version: i64) -> Result<BTreeMap<String, i64>> {
    let store = log.object_store(None);
    let (checkpoint, mut found) = match checkpoint::newest(&store, log.log_path(), version).await? {
        None => (-1, BTreeMap::new()),
        Some(checkpoint) => (checkpoint.version, checkpoint.transactions(&store).await?),
    };
    let mut entries = futures::stream::iter(checkpoint + 1..=version)
        .map(|v| async move { log.read_commit_entry(u64::try_from(v).unwrap_or_default()).await })
        .buffered(CONCURRENT_READS);
    while let Some(bytes) = entries.try_next().await.map_err(|e| delta_error("cannot read the table's log", e))? {
        let bytes =
            bytes.ok_or_else(|| Error::new(ErrorKind::Storage, "part of the table's log is gone, and no checkpoint holds it"))?;
        found.extend(transactions_in(&bytes)?);
    }
    Ok(found)
}

/// The application transactions among the actions of `bytes`, one a line.
pub(crate) fn transactions_in(bytes: &Bytes) -> Result<Vec<(String, i64)>> {
    let found = lines(bytes).filter_map(|line| line.map(|l| l.txn.map(|t| (t.app_id, t.version))).transpose());
    found.collect()
}
