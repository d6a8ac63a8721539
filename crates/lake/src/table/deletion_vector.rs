//! Deletion vectors: which rows of a data file are deleted though the file holds them, kept in a file beside it (Delta protocol, "Deletion Vectors").

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use delta_kernel::actions::deletion_vector_writer::{KernelDeletionVector, StreamingDeletionVectorWriter};
use deltalake::kernel::{Add, DeletionVectorDescriptor, StorageType};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use roaring::RoaringTreemap;
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::row_set::RowSet;
use crate::storage::explain;
use crate::table::snapshot::Snapshot;

/// Before each vector in a file stand its bytes, after it a checksum.
const SIZE_BYTES: usize = 4;

/// What each vector begins with: the portable form of a 64-bit roaring bitmap follows.
const MAGIC: u32 = 1_681_511_377;

/// The end of a path that encodes the identifier of a file of vectors.
const ENCODED_ID: usize = 20;

/// Where the log says that deleted rows of a data file are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionVector(DeletionVectorDescriptor);

impl From<DeletionVectorDescriptor> for DeletionVector {
    fn from(descriptor: DeletionVectorDescriptor) -> Self {
        Self(descriptor)
    }
}

impl DeletionVector {
    /// How many rows are deleted.
    pub fn count(&self) -> u64 {
        u64::try_from(self.0.cardinality).unwrap_or_default()
    }

    /// The places of the deleted rows; `store` is rooted at the table's folder.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be read or is not what the log says.
    pub(crate) async fn load(&self, store: &dyn ObjectStore) -> Result<RowSet> {
        let bytes = match self.0.storage_type {
            StorageType::Inline => Bytes::from(z85::decode(&self.0.path_or_inline_dv).map_err(|_| broken("its text is cut"))?),
            StorageType::UuidRelativePath => self.stored(store).await?,
            StorageType::AbsolutePath => {
                let message = "rows of a table are marked as deleted in a file outside its folder";
                return Err(
                    Error::new(ErrorKind::Storage, message).with_hint("let the engine that wrote it rewrite the table's files")
                );
            }
        };
        let rows = decode(bytes)?;
        if rows.count() != self.count() {
            return Err(broken("it holds another number of rows than the log says"));
        }
        Ok(rows)
    }

    /// Whether it can still be read: the log names some that are no more.
    pub(crate) async fn is_there(&self, store: &dyn ObjectStore) -> Result<bool> {
        if self.0.storage_type != StorageType::UuidRelativePath {
            return Ok(self.0.storage_type == StorageType::Inline);
        }
        match store.head(&self.path()?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(explain("cannot read which rows are deleted", error)),
        }
    }

    async fn stored(&self, store: &dyn ObjectStore) -> Result<Bytes> {
        let size = usize::try_from(self.0.size_in_bytes).map_err(|_| broken("its size is negative"))?;
        let start = u64::try_from(self.0.offset.unwrap_or(1)).map_err(|_| broken("its place is negative"))?;
        let range = start..start + (SIZE_BYTES + size + size_of::<u32>()) as u64;
        let read = store.get_range(&self.path()?, range).await;
        let mut bytes = read.map_err(|e| explain("cannot read which rows are deleted", e))?;
        let whole = bytes.len() == SIZE_BYTES + size + size_of::<u32>() && usize::try_from(bytes.get_u32()) == Ok(size);
        if !whole {
            return Err(broken("its size is not what the log says"));
        }
        let vector = bytes.split_to(size);
        if crc32fast::hash(&vector) == bytes.get_u32() { Ok(vector) } else { Err(broken("its checksum is wrong")) }
    }

    /// The path below the table's folder: a prefix, and the identifier of the file.
    pub(crate) fn path(&self) -> Result<Path> {
        let text = &self.0.path_or_inline_dv;
        let at = text.len().checked_sub(ENCODED_ID).filter(|at| text.is_char_boundary(*at));
        let (prefix, id) = at.map(|at| text.split_at(at)).ok_or_else(|| broken("its path is too short"))?;
        let id =
            z85::decode(id).ok().and_then(|id| Uuid::from_slice(&id).ok()).ok_or_else(|| broken("its path is no identifier"))?;
        let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Path::parse(format!("{folder}{}", file_name(id))).map_err(|_| broken("its path is none"))
    }
}

/// Whether a file of this name in the table's folder holds deletion vectors.
pub(crate) fn is_deletion_vector(name: &str) -> bool {
    name.starts_with("deletion_vector_") && name.ends_with(".bin")
}

fn file_name(id: Uuid) -> String {
    format!("deletion_vector_{id}.bin")
}

fn decode(mut bytes: Bytes) -> Result<RowSet> {
    if bytes.len() < size_of::<u32>() || bytes.get_u32_le() != MAGIC {
        return Err(broken("it is of an unknown form"));
    }
    let rows = RoaringTreemap::deserialize_from(bytes.reader()).map_err(|e| broken("its rows cannot be read").with_source(e))?;
    if rows.max().is_some_and(|last| last > u64::from(u32::MAX)) {
        return Err(broken("it names a row that no file has"));
    }
    let mut set = RowSet::default();
    rows.into_iter().for_each(|row| set.insert(row));
    Ok(set)
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("a list of deleted rows of a table is broken: {why}"))
        .with_hint("`lake restore` goes back to a version without it")
}

impl Snapshot {
    /// Writes down that `deleted` rows of files are deleted, all that were deleted before included; gives the actions that bring these files in again with
    /// their marks. They have to be removed with the same commit.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the store refuses.
    pub(crate) async fn mark_deleted(&self, deleted: &BTreeMap<Path, RowSet>) -> Result<Vec<Add>> {
        if deleted.is_empty() {
            return Ok(vec![]);
        }
        let id = Uuid::new_v4();
        let mut bytes = vec![];
        let mut writer = StreamingDeletionVectorWriter::new(&mut bytes);
        let mut adds = vec![];
        for mut add in self.add_actions(deleted)? {
            let Some(rows) = deleted.get(&Path::parse(&add.path).unwrap_or_default()) else { continue };
            let mut vector = KernelDeletionVector::new();
            vector.add_deleted_row_indexes(rows.iter());
            let written = writer.write_deletion_vector(vector).map_err(unwritten)?;
            add.deletion_vector = Some(DeletionVectorDescriptor {
                storage_type: StorageType::UuidRelativePath,
                path_or_inline_dv: z85::encode(id.as_bytes()),
                offset: Some(written.offset),
                size_in_bytes: written.size_in_bytes,
                cardinality: written.cardinality,
            });
            add.data_change = true;
            add.stats = add.stats.map(|stats| with_wide_bounds(&stats));
            adds.push(add);
        }
        writer.finalize().map_err(unwritten)?;
        let store = self.delta().log_store().object_store(None);
        let put = store.put(&Path::from(file_name(id)), PutPayload::from(bytes)).await;
        put.map_err(|e| explain("cannot write down which rows are deleted", e))?;
        Ok(adds)
    }

    /// The rows of a file that `vector` says are deleted; none without one.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be read.
    pub(crate) async fn deleted_rows(&self, vector: Option<&DeletionVector>) -> Result<RowSet> {
        let Some(vector) = vector else { return Ok(RowSet::default()) };
        vector.load(self.delta().log_store().object_store(None).as_ref()).await
    }

    /// The actions that brought some files in.
    fn add_actions(&self, files: &BTreeMap<Path, RowSet>) -> Result<Vec<Add>> {
        let fail = |e| crate::table::commit::delta_error("cannot read the table's files", e);
        let state = self.delta().snapshot().map_err(fail)?;
        let data = state.snapshot().try_log_data().map_err(fail)?;
        let wanted = data.iter().filter(|view| files.contains_key(&view.object_store_path()));
        #[expect(deprecated, reason = "the log takes actions; there is no other way to make one of a file")]
        Ok(wanted.map(|view| Add { path: view.object_store_path().to_string(), ..view.add_action() }).collect())
    }
}

fn unwritten(source: delta_kernel::Error) -> Error {
    Error::new(ErrorKind::Internal, "cannot write down which rows are deleted").with_source(source)
}

/// The statistics of a file of which rows are deleted: minima and maxima are bounds, which no row need reach.
fn with_wide_bounds(stats: &str) -> String {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(stats) else { return stats.to_owned() };
    fields.insert("tightBounds".to_owned(), false.into());
    serde_json::Value::Object(fields).to_string()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    /// The example of the protocol: rows 3, 4, 7, 11, 18 and 29.
    const EXAMPLE: &str = "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L";

    fn descriptor(
        storage_type: StorageType,
        path_or_inline_dv: &str,
        offset: Option<i32>,
        size: i32,
        count: i64,
    ) -> DeletionVector {
        DeletionVectorDescriptor {
            storage_type,
            path_or_inline_dv: path_or_inline_dv.into(),
            offset,
            size_in_bytes: size,
            cardinality: count,
        }
        .into()
    }

    async fn load(vector: &DeletionVector, store: &InMemory) -> Result<Vec<u64>> {
        vector.load(store).await.map(|rows| rows.iter().collect())
    }

    #[tokio::test]
    async fn vectors_in_the_log_are_read() {
        let store = InMemory::new();
        let vector = descriptor(StorageType::Inline, EXAMPLE, None, 44, 6);
        assert_eq!(load(&vector, &store).await.unwrap(), [3, 4, 7, 11, 18, 29]);
        let other = descriptor(StorageType::Inline, EXAMPLE, None, 44, 5);
        assert!(load(&other, &store).await.unwrap_err().to_string().contains("another number"));
        for (kind, text) in [
            (StorageType::Inline, "^Bg9"),
            (StorageType::UuidRelativePath, "short"),
            (StorageType::UuidRelativePath, "ééééééééééé"),
        ] {
            assert_eq!(load(&descriptor(kind, text, None, 4, 1), &store).await.unwrap_err().kind(), ErrorKind::Storage);
        }
    }

    #[tokio::test]
    async fn vectors_in_files_are_read_and_broken_ones_are_refused() {
        let store = InMemory::new();
        let mut bytes = vec![];
        let mut writer = StreamingDeletionVectorWriter::new(&mut bytes);
        let mut results = vec![];
        for rows in [vec![1u64, 5, 1 << 20], (0..100_000).filter(|r| r % 3 == 0).collect()] {
            let mut vector = KernelDeletionVector::new();
            vector.add_deleted_row_indexes(rows.iter());
            results.push((writer.write_deletion_vector(vector).unwrap(), rows));
        }
        let id = Uuid::new_v4();
        let put = async |prefix: &str, bytes: Vec<u8>| {
            store.put(&Path::from(format!("{prefix}{}", file_name(id))), bytes.into()).await.unwrap();
        };
        put("", bytes.clone()).await;
        put("ab/", bytes.clone()).await;
        for (written, rows) in &results {
            for prefix in ["", "ab"] {
                let text = format!("{prefix}{}", z85::encode(id.as_bytes()));
                let vector = descriptor(
                    StorageType::UuidRelativePath,
                    &text,
                    Some(written.offset),
                    written.size_in_bytes,
                    written.cardinality,
                );
                assert_eq!(load(&vector, &store).await.unwrap(), *rows);
            }
        }
        let (written, _) = &results[1];
        let text = z85::encode(id.as_bytes());
        let vector =
            descriptor(StorageType::UuidRelativePath, &text, Some(written.offset), written.size_in_bytes, written.cardinality);
        let last = bytes.len() - 9;
        bytes[last] ^= 1;
        put("", bytes.clone()).await;
        assert!(load(&vector, &store).await.unwrap_err().to_string().contains("checksum"));
        bytes.truncate(last);
        put("", bytes).await;
        assert_eq!(load(&vector, &store).await.unwrap_err().kind(), ErrorKind::Storage);
    }

    #[test]
    fn bounds_of_a_file_with_deleted_rows_are_not_tight() {
        assert_eq!(with_wide_bounds(r#"{"numRecords":3,"tightBounds":true}"#), r#"{"numRecords":3,"tightBounds":false}"#);
        assert_eq!(with_wide_bounds("none"), "none");
    }
}
