//! Reading the Delta log itself: which files each commit added and removed, and every application transaction.

use std::collections::BTreeMap;

use bytes::Bytes;
use deltalake::logstore::LogStore;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use crate::error::{Error, ErrorKind, Result};
use crate::table::commit::delta_error;
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
}

/// The data files that one commit added and removed. Commits that only rearrange rows have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitFiles {
    /// The commit's version.
    pub version: i64,
    /// Files whose rows are new.
    pub added: Vec<LoggedFile>,
    /// Files whose rows are gone.
    pub removed: Vec<LoggedFile>,
}

#[derive(Deserialize)]
struct LogLine {
    add: Option<FileLine>,
    remove: Option<FileLine>,
    txn: Option<TransactionLine>,
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
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TransactionLine {
    app_id: String,
    version: i64,
}

fn yes() -> bool {
    true
}

impl FileLine {
    fn into_file(self) -> LoggedFile {
        let workspace = self.partition_values.and_then(|mut v| v.remove(WORKSPACE_COLUMN)).flatten();
        LoggedFile { path: store_path(&self.path), workspace, size: self.size.unwrap_or_default() }
    }
}

/// The store's path for a path as the log writes it (percent-encoded once more than the store's).
fn store_path(logged: &str) -> Path {
    let decoded = percent_encoding::percent_decode_str(logged).decode_utf8_lossy();
    Path::parse(decoded.as_ref()).unwrap_or_else(|_| Path::from(decoded.as_ref()))
}

/// What the commits after `after`, up to and with `to`, did to the table's files, in order; `None` when part of that history
/// has been cleaned up.
pub(crate) async fn commits(log: &dyn LogStore, after: i64, to: i64) -> Result<Option<Vec<CommitFiles>>> {
    let found: Vec<Option<CommitFiles>> = futures::stream::iter(after + 1..=to)
        .map(|version| async move {
            let number = u64::try_from(version).unwrap_or_default();
            let bytes = log.read_commit_entry(number).await.map_err(|e| delta_error("cannot read the table's log", e))?;
            bytes.map(|b| commit_files(version, &b)).transpose()
        })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await?;
    Ok(found.into_iter().collect())
}

fn commit_files(version: i64, bytes: &Bytes) -> Result<CommitFiles> {
    let mut files = CommitFiles { version, added: vec![], removed: vec![] };
    for line in lines(bytes) {
        let line = line?;
        files.added.extend(line.add.filter(|f| f.data_change).map(FileLine::into_file));
        files.removed.extend(line.remove.filter(|f| f.data_change).map(FileLine::into_file));
    }
    Ok(files)
}

fn lines(bytes: &Bytes) -> impl Iterator<Item = Result<LogLine>> + '_ {
    bytes.split(|b| *b == b'\n').filter(|l| !l.iter().all(u8::is_ascii_whitespace)).map(|l| {
        serde_json::from_slice(l).map_err(|e| Error::new(ErrorKind::Storage, "the table's log is not readable").with_source(e))
    })
}

/// Every application transaction of the table at `version`: name to the latest number committed under it.
pub(crate) async fn transactions(log: &dyn LogStore, version: i64) -> Result<BTreeMap<String, i64>> {
    let store = log.object_store(None);
    let (checkpoint, parts) = latest_checkpoint(store.as_ref(), log.log_path(), version).await?;
    let mut found = BTreeMap::new();
    for part in parts {
        let bytes = store.get(&part).await.map_err(store_error)?.bytes().await.map_err(store_error)?;
        read_checkpoint_transactions(bytes, &mut found)?;
    }
    let entries: Vec<Option<Bytes>> = futures::stream::iter(checkpoint + 1..=version)
        .map(|v| async move { log.read_commit_entry(u64::try_from(v).unwrap_or_default()).await })
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await
        .map_err(|e| delta_error("cannot read the table's log", e))?;
    for bytes in &entries {
        // To go on without a commit would be to take files for new that were read long ago.
        let bytes = bytes
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Storage, "part of the table's log is gone, and no checkpoint holds it"))?;
        for line in lines(bytes) {
            if let Some(txn) = line?.txn {
                found.insert(txn.app_id, txn.version);
            }
        }
    }
    Ok(found)
}

/// The newest complete checkpoint not after `version`, as its version and files; -1 when there is none.
async fn latest_checkpoint(store: &dyn ObjectStore, log_path: &Path, version: i64) -> Result<(i64, Vec<Path>)> {
    let mut by_version: BTreeMap<i64, Vec<Path>> = BTreeMap::new();
    let mut listing = store.list(Some(log_path));
    while let Some(object) = listing.try_next().await.map_err(store_error)? {
        let Some((number, rest)) = object.location.filename().and_then(|n| n.split_once('.')) else { continue };
        if let (Ok(number), true, true) = (number.parse::<i64>(), rest.starts_with("checkpoint"), rest.ends_with(".parquet"))
            && number <= version
        {
            by_version.entry(number).or_default().push(object.location);
        }
    }
    Ok(by_version.into_iter().rev().find(|(_, parts)| is_complete(parts)).unwrap_or((-1, vec![])))
}

/// Whether all parts of a checkpoint are there; a part's name ends with `<part>.<of>.parquet`.
fn is_complete(parts: &[Path]) -> bool {
    let expected = parts
        .first()
        .and_then(|p| p.filename())
        .map(|n| n.split('.').collect::<Vec<_>>())
        .filter(|n| n.len() == 5)
        .and_then(|n| n[3].parse::<usize>().ok())
        .unwrap_or(1);
    parts.len() == expected
}

fn read_checkpoint_transactions(bytes: Bytes, found: &mut BTreeMap<String, i64>) -> Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(checkpoint_error)?;
    let columns = builder.parquet_schema();
    let mask = ProjectionMask::columns(columns, ["txn.appId", "txn.version"]);
    for batch in builder.with_projection(mask).build().map_err(checkpoint_error)? {
        let batch = batch.map_err(checkpoint_error)?;
        let Some(txn) = batch.column_by_name("txn").and_then(|c| c.as_struct_opt()) else { continue };
        let (Some(ids), Some(numbers)) = (
            txn.column_by_name("appId").and_then(|c| c.as_string_opt::<i32>()),
            txn.column_by_name("version").and_then(|c| c.as_primitive_opt::<Int64Type>()),
        ) else {
            continue;
        };
        for row in (0..batch.num_rows()).filter(|r| txn.is_valid(*r) && ids.is_valid(*r)) {
            found.insert(ids.value(row).to_string(), numbers.value(row));
        }
    }
    Ok(())
}

fn checkpoint_error(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Storage, "a checkpoint of the table's log is not readable").with_source(source)
}

fn store_error(source: object_store::Error) -> Error {
    crate::storage::explain("cannot read the table's log", source)
}
