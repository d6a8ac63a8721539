//! What the store is asked for when a table is opened and written: as much after many commits as after few.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use bytes::Bytes;
use deltalake::kernel::Transaction;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result as StoreResult,
};

use crate::pipeline::TableName;
use crate::report::Strategy;
use crate::storage::Root;
use crate::table::{At, Change, Snapshot};

/// This machine's disk, with a count of what it is asked for.
#[derive(Debug, Default)]
struct Counting {
    disk: LocalFileSystem,
    reads: AtomicUsize,
    listed: Arc<AtomicUsize>,
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

impl Counting {
    fn counted(&self, listing: BoxStream<'static, StoreResult<ObjectMeta>>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let listed = self.listed.clone();
        let count = move |_: &StoreResult<ObjectMeta>| {
            listed.fetch_add(1, Ordering::Relaxed);
        };
        listing.inspect(count).boxed()
    }

    /// Reads, and objects listed, since the last call.
    fn taken(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::Relaxed), self.listed.swap(0, Ordering::Relaxed))
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.disk.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        self.disk.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.disk.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.disk.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.disk.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.counted(self.disk.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.counted(self.disk.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        let found = self.disk.list_with_delimiter(prefix).await?;
        self.listed.fetch_add(found.objects.len(), Ordering::Relaxed);
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.disk.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.disk.rename_opts(from, to, options).await
    }
}

struct Table {
    store: Arc<Counting>,
    root: Root,
    name: TableName,
    _folder: tempfile::TempDir,
}

impl Table {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Counting::default());
        let root = Root::parse(folder.path().to_str().unwrap(), Default::default()).unwrap().with_store(store.clone());
        let name: TableName = "silver.notes".parse().unwrap();
        let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
        Snapshot::create(&root, &name, &schema, &[], None).await.unwrap();
        Self { store, root, name, _folder: folder }
    }

    /// Opens it as a process does that never did before.
    async fn open(&self) -> Snapshot {
        Snapshot::open(&self.root.anew(), &self.name, At::Latest).await.unwrap().unwrap()
    }

    /// Opens it once more.
    async fn open_again(&self) -> Snapshot {
        Snapshot::open(&self.root, &self.name, At::Latest).await.unwrap().unwrap()
    }

    /// Commits `count` records of progress, each a commit.
    async fn commit(&self, count: i64) {
        for _ in 0..count {
            let table = self.open().await;
            let transaction = Transaction::new(format!("file:{}", table.version()), 1);
            let change = Change { adds: vec![], removes: HashSet::new(), transactions: vec![transaction], ..Default::default() };
            table.commit(change, Strategy::Append, "test").await.unwrap();
        }
    }

    /// What opening asks for, and what a commit asks for then.
    async fn cost(&self) -> [(usize, usize); 2] {
        self.store.taken();
        let table = self.open().await;
        let known = table.progress().await.unwrap();
        assert_eq!(known.names().count() as i64, table.version(), "every record of progress is found");
        let opened = self.store.taken();
        self.commit(1).await;
        [opened, self.store.taken()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_and_writing_ask_for_as_much_after_hundreds_of_commits_as_after_few() {
    let table = Table::new().await;
    table.commit(29).await;
    let few = table.cost().await;
    table.commit(399).await;
    let many = table.cost().await;
    for ((reads, listed), (reads_few, listed_few)) in many.into_iter().zip(few) {
        assert!(reads <= reads_few + 4, "{reads} reads, and {reads_few} at first");
        assert!(listed <= listed_few + 4, "{listed} objects listed, and {listed_few} at first");
        assert!(listed > 0 && reads > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_was_opened_is_opened_again_by_a_look_and_never_out_of_date() {
    let table = Table::new().await;
    table.commit(3).await;
    assert_eq!(table.open_again().await.progress().await.unwrap().names().count(), 3);
    table.store.taken();
    let again = table.open_again().await;
    assert_eq!((again.version(), again.progress().await.unwrap().names().count()), (3, 3));
    assert_eq!(table.store.taken(), (2, 0), "two objects are looked at, and nothing is listed");
    // Another process commits, so often that a checkpoint is made and the log could be cleaned.
    for count in [1, 30] {
        let before = table.open_again().await.version();
        table.commit(count).await;
        let now = table.open_again().await;
        assert_eq!(now.version(), before + count);
        assert_eq!(now.progress().await.unwrap().names().count() as i64, now.version());
    }
    // Another table takes its place, of as many versions.
    let versions = table.open().await.version();
    let log = table.root.local_path().unwrap().join("silver/notes");
    std::fs::remove_dir_all(&log).unwrap();
    assert!(Snapshot::open(&table.root, &table.name, At::Latest).await.unwrap().is_none());
    let schema = Schema::new(vec![Field::new("other", DataType::Utf8, true)]);
    Snapshot::create(&table.root, &table.name, &schema, &[], None).await.unwrap();
    table.commit(versions).await;
    let other = table.open_again().await;
    assert_eq!((other.version(), other.schema().field(0).name().as_str()), (versions, "other"));
}
