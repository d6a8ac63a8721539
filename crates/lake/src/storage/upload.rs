//! An upload in parts whose last answer may be lost: the object itself says whether it is complete.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, PutResult, Result, UploadPart};

/// An upload that asks the store for the object when completing it seems to have failed. Each part is sent again by itself when it is lost.
#[derive(Debug)]
pub(crate) struct Confirmed {
    upload: Box<dyn MultipartUpload>,
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl Confirmed {
    /// For `upload` to `path` of `store`.
    pub(crate) fn new(upload: Box<dyn MultipartUpload>, store: Arc<dyn ObjectStore>, path: Path) -> Self {
        Self { upload, store, path, bytes: 0 }
    }
}

#[async_trait]
impl MultipartUpload for Confirmed {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.bytes += data.content_length() as u64;
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.upload.complete().await {
            // The second of two requests to complete an upload is told that there is no such upload.
            Err(error) => match self.store.head(&self.path).await {
                Ok(object) if object.size == self.bytes => Ok(PutResult { e_tag: object.e_tag, version: object.version }),
                _ => Err(error),
            },
            done => done,
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
