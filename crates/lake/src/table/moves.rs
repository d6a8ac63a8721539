//! What a merge knows of the rows of the files it rewrites, kept beside the log: which rows went, and which files hold rows that only moved. Without it
//! every row of a rewritten file seems to have changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use chrono::{Duration, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::error::{Error, ErrorKind, Result};
use crate::row_set::RowSet;
use crate::storage::explain;
use crate::table::changes::Positions;
use crate::table::snapshot::Snapshot;

/// The folder in a table's own that holds them. Readers of the table pass it over.
pub(crate) const FOLDER: &str = "_lake_rows";

/// Rows that are written down at a time.
const ENCODED_AT_ONCE: usize = 1 << 16;

/// As long as the log keeps commits that name one.
const RETENTION_DAYS: i64 = 30;

/// Rows of files that a commit rewrites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// For each file that goes, which of its rows go with it, and how many it has.
    pub gone: BTreeMap<Path, (RowSet, u64)>,
    /// Files that come and hold nothing but rows of those that go.
    pub moved: HashSet<Path>,
}

impl Moves {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.moved.is_empty()
    }

    /// The rows of a file that went with it; `None` when nothing is known of it.
    pub(crate) fn gone_from(&self, file: &Path) -> Option<Positions> {
        let (rows, of) = self.gone.get(file)?;
        Some(Positions::of_set(rows, usize::try_from(*of).ok()?))
    }

    /// One row for each row that went (its file, its place, and the rows of its file) and for each file of moved rows (without a place).
    fn encode(&self) -> Result<Vec<u8>, ParquetError> {
        let place = ColumnPath::new(vec!["place".to_string()]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_column_dictionary_enabled(place.clone(), false)
            .set_column_encoding(place, Encoding::DELTA_BINARY_PACKED)
            .build();
        let mut moved: Vec<&Path> = self.moved.iter().collect();
        moved.sort_unstable();
        let mut writer = ArrowWriter::try_new(vec![], columns(&[], &[], 0)?.schema(), Some(properties))?;
        for (file, (rows, of)) in &self.gone {
            let mut places = rows.iter().map(|row| i64::try_from(row).ok()).peekable();
            while places.peek().is_some() {
                let some: Vec<Option<i64>> = places.by_ref().take(ENCODED_AT_ONCE).collect();
                writer.write(&columns(&vec![file.as_ref(); some.len()], &some, *of)?)?;
            }
        }
        let moved: Vec<&str> = moved.into_iter().map(AsRef::as_ref).collect();
        writer.write(&columns(&moved, &vec![None; moved.len()], 0)?)?;
        writer.into_inner()
    }

    fn decode(bytes: Bytes) -> Result<Self, ArrowError> {
        let mut moves = Self::default();
        let path = |text: &str| Path::parse(text).map_err(|e| ArrowError::ExternalError(e.into()));
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
            let batch = batch?;
            let column = |at: usize| batch.columns().get(at).ok_or_else(|| ArrowError::SchemaError("a column is missing".into()));
            let files = column(0)?.as_string_opt::<i32>();
            let places = column(1)?.as_primitive_opt::<Int64Type>();
            let counts = column(2)?.as_primitive_opt::<Int64Type>();
            let (Some(files), Some(places), Some(counts)) = (files, places, counts) else {
                return Err(ArrowError::SchemaError("a column has another type".into()));
            };
            let mut last: HashMap<&str, Path> = HashMap::new();
            for row in 0..batch.num_rows() {
                let file = match last.get(files.value(row)) {
                    Some(file) => file.clone(),
                    None => last.entry(files.value(row)).or_insert(path(files.value(row))?).clone(),
                };
                if places.is_null(row) {
                    moves.moved.insert(file);
                } else {
                    let of = counts.value(row).unsigned_abs();
                    moves.gone.entry(file).or_insert_with(|| (RowSet::default(), of)).0.insert(places.value(row).unsigned_abs());
                }
            }
        }
        Ok(moves)
    }
}

fn columns(files: &[&str], places: &[Option<i64>], of: u64) -> Result<RecordBatch, ParquetError> {
    let counts = vec![i64::try_from(of).unwrap_or(i64::MAX); files.len()];
    let fields = [("file", DataType::Utf8), ("place", DataType::Int64), ("rows", DataType::Int64)];
    let schema = Schema::new(fields.map(|(name, kind)| Field::new(name, kind, true)).to_vec());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(files.to_vec())),
        Arc::new(Int64Array::from(places.to_vec())),
        Arc::new(Int64Array::from(counts)),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
}

impl Snapshot {
    /// Keeps `moves` beside the log; gives the name that a commit knows them by.
    pub(crate) async fn keep_moves(&self, moves: &Moves) -> Result<String> {
        let name = uuid::Uuid::now_v7().to_string();
        let fail = |e| Error::new(ErrorKind::Internal, "cannot write down which rows changed").with_source(e);
        let bytes = moves.encode().map_err(fail)?;
        let store = self.delta().log_store().object_store(None);
        let refused = |e| explain("cannot write down which rows changed", e);
        store.put(&place(&name), PutPayload::from(bytes)).await.map_err(refused)?;
        Ok(name)
    }

    /// What was kept under `name`; `None` when it is gone or cannot be understood: then all rows of its files are taken to have changed.
    pub(crate) async fn kept_moves(&self, name: &str) -> Result<Option<Moves>> {
        let store = self.delta().log_store().object_store(None);
        let refused = |e| explain("cannot read which rows changed", e);
        let bytes = match store.get(&place(name)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(refused)?.bytes().await.map_err(refused)?,
        };
        match Moves::decode(bytes) {
            Ok(moves) => Ok(Some(moves)),
            Err(error) => {
                tracing::warn!(table = %self.name(), %error, "cannot tell which rows changed");
                Ok(None)
            }
        }
    }

    /// Deletes what is older than the log.
    pub(crate) async fn clean_moves(&self) -> Result<()> {
        let store = self.delta().log_store().object_store(None);
        let refused = |e| explain(&format!("cannot clean up `{FOLDER}` of `{}`", self.name()), e);
        let old = Utc::now() - Duration::days(RETENTION_DAYS);
        let found: Vec<_> = store.list(Some(&Path::from(FOLDER))).try_collect().await.map_err(refused)?;
        for object in found.into_iter().filter(|object| object.last_modified < old) {
            match store.delete(&object.location).await {
                Err(object_store::Error::NotFound { .. }) => {}
                done => done.map_err(refused)?,
            }
        }
        Ok(())
    }
}

fn place(name: &str) -> Path {
    Path::from(format!("{FOLDER}/{name}.rows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_are_read_as_they_were_written() {
        let mut rows = RowSet::default();
        [0, 1, 2, 64, 70, 71].into_iter().for_each(|row| rows.insert(row));
        let moves = Moves {
            gone: [(Path::parse("workspace_id=a%2520b/x.parquet").unwrap(), (rows, 100))].into(),
            moved: [Path::from("workspace_id=b/y.parquet")].into(),
        };
        let read = Moves::decode(moves.encode().unwrap().into()).unwrap();
        assert_eq!(read, moves);
        let gone = read.gone_from(&Path::parse("workspace_id=a%2520b/x.parquet").unwrap()).unwrap();
        assert_eq!(gone, Positions::new(vec![0..3, 64..65, 70..72], 100));
        assert_eq!(read.gone_from(&Path::from("z")), None);
        assert!(Moves::decode(Bytes::from_static(b"no such thing")).is_err());
    }
}
