//! The fence before a commit: an object of a Delta log is created only if it is absent, by the store where it can, else under a lock.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result as StoreResult,
};
use tokio::sync::OnceCell;

use super::commits::Commits;
use super::lock::{ADVICE, CommitLock, HELD, LockSetting, RedisLock};
use super::probe::{ConditionalCreate, StoreTruth, probe};
use super::upload::Confirmed;
use crate::error::{Error, ErrorKind, Result};

/// For how long what a probe saw is believed.
const BELIEVED_DAYS: i64 = 30;

/// How often a request to create an object is sent again when its answer was lost.
const SENT_AGAIN: u32 = 5;

/// How often the commit under a lock is looked for before it is taken for lost.
const LOOKS: u32 = 3;

/// A bucket whose Delta logs no two writers can both extend by the same version.
pub(crate) struct Fenced {
    inner: Arc<dyn ObjectStore>,
    bucket: String,
    bookkeeping: Path,
    setting: Option<LockSetting>,
    fence: OnceCell<Fence>,
    commits: Arc<Commits>,
}

/// How creating only if absent is made true.
#[derive(Debug, Clone)]
enum Fence {
    /// By the store.
    Store,
    /// By a lease that all writers take.
    Lock(Arc<dyn CommitLock>),
    /// By there being one writer.
    SingleWriter,
}

impl Fenced {
    /// A fence before `inner`, the bucket `bucket`. What a probe sees is kept below `bookkeeping`.
    pub(crate) fn new(inner: Arc<dyn ObjectStore>, bucket: &str, bookkeeping: Path, setting: Option<LockSetting>) -> Self {
        Self { inner, bucket: bucket.to_owned(), bookkeeping, setting, fence: OnceCell::new(), commits: Arc::default() }
    }

    /// Probes the store now, whatever is believed of it, and keeps what was seen.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn probe(&self) -> StoreResult<StoreTruth> {
        let truth = probe(self.inner.as_ref(), &self.bookkeeping.clone().join("probe")).await?;
        if let Ok(text) = serde_json::to_vec_pretty(&truth)
            && let Err(error) = self.inner.put(&self.verdict(), PutPayload::from(text)).await
        {
            tracing::warn!(%error, "what the probe of the store saw could not be kept");
        }
        Ok(truth)
    }

    /// The lock, where one is set.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when its server does not answer.
    pub(crate) async fn check_lock(&self) -> Result<()> {
        match &self.setting {
            Some(LockSetting::Redis(url)) => RedisLock::new(url)?.check().await,
            _ => Ok(()),
        }
    }

    fn verdict(&self) -> Path {
        self.bookkeeping.clone().join("store.json")
    }

    async fn fence(&self) -> StoreResult<&Fence> {
        self.fence.get_or_try_init(|| self.decide()).await
    }

    async fn decide(&self) -> StoreResult<Fence> {
        match &self.setting {
            Some(LockSetting::Redis(url)) => Ok(Fence::Lock(Arc::new(RedisLock::new(url).map_err(travelling)?))),
            Some(LockSetting::SingleWriter) => Ok(Fence::SingleWriter),
            None if self.is_believed().await? => Ok(Fence::Store),
            None => match self.probe().await?.conditional_create {
                ConditionalCreate::Atomic => Ok(Fence::Store),
                other => Err(travelling(refused(&self.bucket, other))),
            },
        }
    }

    async fn is_believed(&self) -> StoreResult<bool> {
        let kept = match self.inner.get(&self.verdict()).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(serde_json::from_slice::<StoreTruth>(&kept).is_ok_and(|truth| {
            let age = Utc::now() - truth.probed_at;
            truth.schema == StoreTruth::SCHEMA
                && truth.conditional_create == ConditionalCreate::Atomic
                && age.num_days() < BELIEVED_DAYS
        }))
    }

    async fn create(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        match self.fence().await? {
            Fence::Store => self.create_surely(path, payload, options).await,
            Fence::SingleWriter => self.create_alone(path, payload, options).await,
            Fence::Lock(lock) => {
                let lease = lock.acquire(&format!("{}/{path}", self.bucket)).await.map_err(travelling)?;
                match tokio::time::timeout(HELD, self.create_alone(path, payload, options)).await {
                    // Where nobody knows whether the object was written, nobody else may write it before the request has surely ended.
                    Err(_) => Err(travelling(
                        Error::new(ErrorKind::Storage, format!("the store did not answer within {} s", HELD.as_secs()))
                            .with_hint("run again: what was committed is recognised"),
                    )),
                    Ok(done) => {
                        if !done.as_ref().is_err_and(is_unsure) {
                            lock.release(lease).await;
                        }
                        done
                    }
                }
            }
        }
    }

    /// Creates an object in a store that checks the condition. A request whose answer was lost is sent again: of all requests one is the
    /// first, and the object's bytes, which no two writers share, say whether it was one of these.
    async fn create_surely(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        let mut done = self.inner.put_opts(path, payload.clone(), options.clone()).await;
        let mut unsure = done.as_ref().is_err_and(is_lost);
        for again in 0..SENT_AGAIN {
            if !unsure {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(50 << again)).await;
            done = self.inner.put_opts(path, payload.clone(), options.clone()).await;
            let there =
                matches!(&done, Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }));
            if !there {
                unsure = done.as_ref().is_err_and(is_lost);
                continue;
            }
            match self.inner.get(path).await {
                Ok(found) => {
                    let (e_tag, version) = (found.meta.e_tag.clone(), found.meta.version.clone());
                    let own = found.bytes().await? == Bytes::from(payload.clone());
                    return if own { Ok(PutResult { e_tag, version }) } else { done };
                }
                // A store that has just started may not find what it knows to be there.
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        done
    }

    /// Creates an object while no other writer is at it.
    async fn create_alone(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        match self.inner.head(path).await {
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(already_exists(path)),
        }
        let expected: Bytes = payload.clone().into();
        // A store that understands the condition may as well check it.
        let done = match self.inner.put_opts(path, payload.clone(), options.clone()).await {
            Err(object_store::Error::NotImplemented { .. }) => {
                self.inner.put_opts(path, payload, PutOptions { mode: PutMode::Overwrite, ..options }).await
            }
            other => other,
        };
        // An answer can be lost, and a retry then finds the object that the first attempt made.
        if !matches!(&done, Ok(_) | Err(object_store::Error::AlreadyExists { .. })) {
            return done;
        }
        for look in 1.. {
            match self.inner.get(path).await {
                Ok(found) => match found.bytes().await? == expected {
                    true => break,
                    false => return Err(already_exists(path)),
                },
                Err(object_store::Error::NotFound { .. }) if look < LOOKS => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(error) => return Err(error),
            }
        }
        done.or(Ok(PutResult { e_tag: None, version: None }))
    }
}

/// Whether the connection broke before the answer was there.
fn is_lost(error: &object_store::Error) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |e| e.source());
    causes.any(|cause| {
        let kind = cause.downcast_ref::<HttpError>().map(HttpError::kind);
        matches!(kind, Some(HttpErrorKind::Timeout | HttpErrorKind::Interrupted))
    })
}

/// Whether after this error the object may yet appear.
fn is_unsure(error: &object_store::Error) -> bool {
    !matches!(
        error,
        object_store::Error::AlreadyExists { .. }
            | object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. }
            | object_store::Error::NotFound { .. }
    )
}

fn already_exists(path: &Path) -> object_store::Error {
    let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
    object_store::Error::AlreadyExists { path: path.to_string(), source: Box::new(source) }
}

/// An error of ours on its way through the store's interface; [`super::fault::explain`] finds it again.
fn travelling(error: Error) -> object_store::Error {
    object_store::Error::Generic { store: "lake", source: Box::new(error) }
}

fn refused(bucket: &str, seen: ConditionalCreate) -> Error {
    let what = match seen {
        ConditionalCreate::Racy => "told two writers who created the same object at once that both had",
        ConditionalCreate::Unsupported => "refuses to create an object only if it is absent",
        _ => "overwrites an object that must only be created if it is absent",
    };
    Error::new(ErrorKind::Storage, format!("the store of `{bucket}` {what}: concurrent writers would lose each other's commits"))
        .with_hint(format!("{ADVICE}; `lake doctor` shows what was seen"))
}

impl fmt::Debug for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fenced({})", self.bucket)
    }
}

impl fmt::Display for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Fenced {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.commits.forget(path);
        match options.mode {
            PutMode::Create => self.create(path, payload, options).await,
            _ => self.inner.put_opts(path, payload, options).await,
        }
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        let upload = self.inner.put_multipart_opts(path, options).await?;
        Ok(Box::new(Confirmed::new(upload, self.inner.clone(), path.clone())))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if let Some(known) = self.commits.get(path, &options) {
            return Ok(known);
        }
        let answer = self.inner.get_opts(path, options.clone()).await?;
        self.commits.keep(path, &options, answer).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let commits = self.commits.clone();
        let deleted = self.inner.delete_stream(paths);
        deleted.inspect_ok(move |path| commits.forget(path)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let commits = self.commits.clone();
        self.inner.list(prefix).inspect_ok(move |object| commits.listed(object)).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let commits = self.commits.clone();
        self.inner.list_with_offset(prefix, offset).inspect_ok(move |object| commits.listed(object)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
