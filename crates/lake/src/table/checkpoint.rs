//! Checkpoints of the Delta log: finding the newest, and reading the application transactions it holds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Int64Type};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::table::log;

/// The columns of a checkpoint with what this crate reads of it.
const COLUMNS: [&str; 2] = ["txn.appId", "txn.version"];

/// Bytes that are fetched from the end of a checkpoint at once: its footer is in them as a rule.
const FOOTER_GUESS: usize = 64 << 10;

/// A complete checkpoint: one file, or all of its parts.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// The version whose state it holds.
    pub(crate) version: i64,
    parts: Vec<ObjectMeta>,
}

/// Where the log says its newest checkpoint is. A hint: it may be old, or gone.
#[derive(Deserialize)]
struct Hint {
    version: i64,
}

/// The newest complete checkpoint not after `version`. As a rule the log is listed from the checkpoint on that its hint names, however
/// long it is.
///
/// # Errors
/// [`ErrorKind::Storage`] when the log cannot be listed.
pub(crate) async fn newest(store: &Arc<dyn ObjectStore>, log: &Path, version: i64) -> Result<Option<Checkpoint>> {
    if let Some(hint) = hint(store.as_ref(), log).await?.filter(|hint| (0..=version).contains(hint)) {
        let from = log.clone().join(format!("{hint:020}"));
        let found = newest_in(store.list_with_offset(Some(log), &from), version).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    newest_in(store.list(Some(log)), version).await
}

async fn hint(store: &dyn ObjectStore, log: &Path) -> Result<Option<i64>> {
    let bytes = match store.get(&log.clone().join("_last_checkpoint")).await {
        Ok(object) => object.bytes().await.map_err(store_error)?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(store_error(error)),
    };
    Ok(serde_json::from_slice::<Hint>(&bytes).ok().map(|h| h.version))
}

type Listing = futures::stream::BoxStream<'static, object_store::Result<ObjectMeta>>;

async fn newest_in(mut listing: Listing, version: i64) -> Result<Option<Checkpoint>> {
    let mut found: BTreeMap<i64, Vec<(PartName, ObjectMeta)>> = BTreeMap::new();
    while let Some(object) = listing.try_next().await.map_err(store_error)? {
        let name = object.location.filename().and_then(CheckpointName::parse);
        if let Some(CheckpointName { version: number, part }) = name.filter(|n| n.version <= version) {
            found.entry(number).or_default().push((part, object));
        }
    }
    Ok(found.into_iter().rev().find_map(|(version, parts)| Some(Checkpoint { version, parts: complete(parts)? })))
}

/// The name of a checkpoint's file: `<version>.checkpoint` and one of `.parquet`, `.<part>.<of>.parquet`, `.<id>.parquet`, `.<id>.json`.
struct CheckpointName {
    version: i64,
    part: PartName,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartName {
    /// The only file.
    Whole,
    /// One of so many.
    OneOf(usize),
}

impl CheckpointName {
    fn parse(name: &str) -> Option<Self> {
        let (version, rest) = name.split_once(".checkpoint.")?;
        let version = version.parse().ok()?;
        let part = match rest.split('.').collect::<Vec<_>>()[..] {
            ["parquet"] | [_, "parquet" | "json"] => PartName::Whole,
            [_, of, "parquet"] => PartName::OneOf(of.parse().ok()?),
            _ => return None,
        };
        Some(Self { version, part })
    }
}

/// The files of one checkpoint among those of its version: several writers may have made one each, some of them in part.
fn complete(files: Vec<(PartName, ObjectMeta)>) -> Option<Vec<ObjectMeta>> {
    if let Some(whole) = files.iter().find(|(part, _)| *part == PartName::Whole) {
        return Some(vec![whole.1.clone()]);
    }
    let sizes: Vec<PartName> = files.iter().map(|(part, _)| *part).collect();
    let whole = sizes.iter().find(|part| match part {
        PartName::OneOf(of) => sizes.iter().filter(|p| p == part).count() == *of,
        PartName::Whole => false,
    })?;
    Some(files.into_iter().filter(|(part, _)| part == whole).map(|(_, file)| file).collect())
}

impl Checkpoint {
    /// The application transactions it holds. Only their columns are fetched, however many files the table has. Checkpoints of the second
    /// kind keep these in their own file, and only the list of files beside it.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be read, or has no place for transactions.
    pub(crate) async fn transactions(&self, store: &Arc<dyn ObjectStore>) -> Result<BTreeMap<String, i64>> {
        let mut found = BTreeMap::new();
        for part in &self.parts {
            if part.location.as_ref().ends_with(".json") {
                let bytes = store.get(&part.location).await.map_err(store_error)?.bytes().await.map_err(store_error)?;
                found.extend(log::transactions_in(&bytes)?);
            } else {
                read_parquet(store, part, &mut found).await?;
            }
        }
        Ok(found)
    }
}

async fn read_parquet(store: &Arc<dyn ObjectStore>, part: &ObjectMeta, found: &mut BTreeMap<String, i64>) -> Result<()> {
    let reader = StoredFile { store: store.clone(), file: part.clone() };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(checkpoint_error)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    let mut batches = builder.with_projection(mask).build().map_err(checkpoint_error)?;
    while let Some(batch) = batches.next().await {
        read_batch(&batch.map_err(checkpoint_error)?, found)?;
    }
    Ok(())
}

/// The rows that a Parquet file holds, by its footer.
pub(crate) async fn rows_in(store: &Arc<dyn ObjectStore>, file: ObjectMeta) -> ParquetResult<u64> {
    let metadata = StoredFile { store: store.clone(), file }.get_metadata(None).await?;
    Ok(u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default())
}

/// A Parquet file that is fetched range by range.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    file: ObjectMeta,
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            let bytes = self.store.get_range(&self.file.location, range).await;
            bytes.map_err(|e| ParquetError::External(Box::new(e)))
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move {
            let bytes = self.store.get_ranges(&self.file.location, &ranges).await;
            bytes.map_err(|e| ParquetError::External(Box::new(e)))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let size = self.file.size;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_GUESS));
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}

fn read_batch(batch: &RecordBatch, found: &mut BTreeMap<String, i64>) -> Result<()> {
    let missing = || Error::new(ErrorKind::Storage, "a checkpoint of the table's log has no column of transactions");
    let txn = batch.column_by_name("txn").and_then(|c| c.as_struct_opt()).ok_or_else(missing)?;
    let field = |name: &str, as_type: &DataType| {
        let column = StructArray::column_by_name(txn, name).ok_or_else(missing)?;
        arrow::compute::cast(column, as_type).map_err(checkpoint_error)
    };
    let (ids, numbers) = (field("appId", &DataType::Utf8)?, field("version", &DataType::Int64)?);
    let (ids, numbers) = (ids.as_string::<i32>(), numbers.as_primitive::<Int64Type>());
    for row in (0..batch.num_rows()).filter(|r| txn.is_valid(*r) && ids.is_valid(*r)) {
        found.insert(ids.value(row).to_string(), numbers.value(row));
    }
    Ok(())
}

fn checkpoint_error(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Storage, "a checkpoint of the table's log is not readable").with_source(source)
}

pub(crate) fn store_error(source: object_store::Error) -> Error {
    crate::storage::explain("cannot read the table's log", source)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn log_of(files: &[(&str, &str)]) -> Arc<dyn ObjectStore> {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for (name, text) in files {
            store.put(&Path::from(format!("_delta_log/{name}")), text.to_string().into()).await.unwrap();
        }
        store
    }

    async fn newest_of(files: &[&str], version: i64) -> Option<(i64, usize)> {
        let files: Vec<_> = files.iter().map(|f| (*f, "")).collect();
        let found = newest(&log_of(&files).await, &Path::from("_delta_log"), version).await.unwrap();
        found.map(|c| (c.version, c.parts.len()))
    }

    #[tokio::test]
    async fn the_newest_complete_checkpoint_not_after_the_version_is_found() {
        let files = [
            "00000000000000000010.checkpoint.parquet",
            "00000000000000000020.checkpoint.0000000001.0000000002.parquet",
            "00000000000000000020.checkpoint.0000000002.0000000002.parquet",
            "00000000000000000030.checkpoint.0000000001.0000000003.parquet",
            "00000000000000000040.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json",
            "00000000000000000050.json",
        ];
        assert_eq!(newest_of(&files, 60).await, Some((40, 1)));
        assert_eq!(newest_of(&files, 39).await, Some((20, 2)));
        assert_eq!(newest_of(&files, 19).await, Some((10, 1)));
        assert_eq!(newest_of(&files, 9).await, None);
    }

    #[tokio::test]
    async fn a_hint_that_leads_nowhere_is_not_followed() {
        let there = ("00000000000000000010.checkpoint.parquet", "");
        for hint in [r#"{"version":20,"size":1}"#, r#"{"version":99,"size":1}"#, "nonsense"] {
            let store = log_of(&[there, ("_last_checkpoint", hint)]).await;
            assert_eq!(newest(&store, &Path::from("_delta_log"), 30).await.unwrap().unwrap().version, 10);
        }
    }

    #[tokio::test]
    async fn the_second_kind_of_checkpoint_is_read_and_one_that_cannot_be_is_an_error() {
        let name = "00000000000000000003.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json";
        let text = "{\"checkpointMetadata\":{\"version\":3}}\n{\"txn\":{\"appId\":\"file:a\",\"version\":7}}\n{\"sidecar\":{\"path\":\"x\"}}";
        let store = log_of(&[(name, text)]).await;
        let checkpoint = newest(&store, &Path::from("_delta_log"), 3).await.unwrap().unwrap();
        assert_eq!(checkpoint.transactions(&store).await.unwrap(), BTreeMap::from([("file:a".to_string(), 7)]));
        let store = log_of(&[("00000000000000000003.checkpoint.parquet", "PAR1 and nothing more PAR1")]).await;
        let checkpoint = newest(&store, &Path::from("_delta_log"), 3).await.unwrap().unwrap();
        assert_eq!(checkpoint.transactions(&store).await.unwrap_err().kind(), ErrorKind::Storage);
    }
}
