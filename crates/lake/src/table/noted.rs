//! A store that notes which partitions are read and written through it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, RenameOptions, Result,
};

use crate::table::footprint::{Notes, Touch};

/// The store below, with notes of what lies below `root`. A note is taken before the request, so that one that fails is noted too.
#[derive(Debug)]
pub(crate) struct Noted {
    inner: Arc<dyn ObjectStore>,
    root: Path,
    notes: Arc<Notes>,
}

impl Noted {
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, root: Path, notes: Arc<Notes>) -> Self {
        Self { inner, root, notes }
    }

    fn note(&self, path: &Path, touch: Touch) {
        let below = match self.root.as_ref() {
            "" => Some(path.as_ref()),
            root => path.as_ref().strip_prefix(root).and_then(|rest| rest.strip_prefix('/')),
        };
        if let Some(below) = below {
            self.notes.note(below, touch);
        }
    }
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Noted {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.note(path, Touch::Written);
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.note(path, Touch::Written);
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.note(path, Touch::Read);
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.note(path, Touch::Read);
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.note(from, Touch::Read);
        self.note(to, Touch::Written);
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.note(from, Touch::Read);
        self.note(to, Touch::Written);
        self.inner.rename_opts(from, to, options).await
    }
}
