//! Where a lake lives: a local folder or a bucket, as a URL, an object store and the options Delta needs to reach it.

mod breaker;
mod commits;
mod credentials;
mod fault;
mod fence;
mod http;
mod lock;
mod probe;
mod s3;
mod upload;
mod uploads;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::table::{Footprint, Opened};

pub use fault::explain;
pub(crate) use lock::ADVICE;
pub use lock::LockSetting;
pub use probe::{ConditionalCreate, StoreTruth};
pub use s3::RETRY_OPTION;

use fence::Fenced;
use uploads::Uploads;

/// The folder of what is not a table: reports, what a probe saw of the store, the stub catalog's records.
pub(crate) const BOOKKEEPING: &str = "_lake";

/// The option, and the variable, that sets the lock around commits.
pub const LOCK_OPTION: &str = "LAKE_LOCK";

/// The root of a lake. Cheap to clone: clones share the client and its connections.
#[derive(Clone)]
pub struct Root {
    url: Url,
    options: Arc<HashMap<String, String>>,
    bucket: Arc<OnceLock<Bucket>>,
    footprint: Option<Footprint>,
    opened: Opened,
}

/// The store that holds the root, from its own root on.
#[derive(Debug, Clone)]
struct Bucket {
    store: Arc<dyn ObjectStore>,
    fence: Option<Arc<Fenced>>,
}

impl fmt::Debug for Root {
    /// Without the options, which hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root({})", self.url)
    }
}

impl Root {
    /// Reads `uri`: a local path, a `file://` URL, or `s3://bucket[/prefix]`. `options` go to the store's client
    /// (`AWS_ENDPOINT_URL` and the like). A local folder need not exist yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an empty or unknown URI.
    pub fn parse(uri: &str, options: HashMap<String, String>) -> Result<Self> {
        let url = match uri.split_once("://") {
            None if uri.is_empty() => return Err(Error::new(ErrorKind::Config, "`LAKE_URI` is empty")),
            None => local_url(FilePath::new(uri))?,
            Some(("file", path)) => local_url(FilePath::new(path))?,
            Some(("s3" | "s3a", _)) => {
                let mut text = uri.trim_end_matches('/').to_string();
                text.push('/');
                Url::parse(&text).map_err(|e| Error::new(ErrorKind::Config, format!("`{uri}` is not a URL")).with_source(e))?
            }
            Some((scheme, _)) => {
                return Err(Error::new(ErrorKind::Config, format!("cannot keep tables on `{scheme}://`"))
                    .with_hint("use a local folder or `s3://bucket/prefix`"));
            }
        };
        Ok(Self { url, options: Arc::new(options), bucket: Arc::default(), footprint: None, opened: Opened::default() })
    }

    /// The same root on another store, whose paths start at the file system's or the bucket's own root.
    #[cfg(test)]
    pub(crate) fn with_store(self, store: Arc<dyn ObjectStore>) -> Self {
        Self { bucket: Arc::new(OnceLock::from(Bucket { store, fence: None })), ..self }
    }

    /// Tables that were opened through this root and its clones.
    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The same root as one who knows nothing of its tables sees it.
    #[cfg(test)]
    pub(crate) fn anew(&self) -> Self {
        Self { opened: Opened::default(), ..self.clone() }
    }

    /// The root as a URL that ends with a slash.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Options for the store's client.
    pub fn options(&self) -> &HashMap<String, String> {
        &self.options
    }

    /// The local folder, when the lake is on this machine's disk.
    pub fn local_path(&self) -> Option<PathBuf> {
        (self.url.scheme() == "file").then(|| self.url.to_file_path().ok()).flatten()
    }

    /// The URL of `relative`, a folder below the root.
    pub fn join(&self, relative: &str) -> Result<Url> {
        self.url
            .join(&format!("{relative}/"))
            .map_err(|e| Error::new(ErrorKind::Internal, format!("`{relative}` cannot be a folder of the lake")).with_source(e))
    }

    /// The store that holds the root: the bucket, or this machine's file system. Its paths start at its own root.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the client cannot be configured.
    pub fn bucket(&self) -> Result<Arc<dyn ObjectStore>> {
        let store = self.made()?.store.clone();
        Ok(match &self.footprint {
            Some(footprint) => footprint.note(store, self.prefix()?),
            None => store,
        })
    }

    /// A store whose paths are relative to the root. A local root is made with the first object that is put into it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the path cannot be used or the client cannot be configured.
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>> {
        let (store, prefix) = (self.bucket()?, self.prefix()?);
        Ok(if prefix.as_ref().is_empty() { store } else { Arc::new(PrefixStore::new(store, prefix)) })
    }

    /// The same root, through which `footprint` notes what is read and written.
    #[must_use]
    pub(crate) fn noted(&self, footprint: &Footprint) -> Self {
        Self { footprint: Some(footprint.clone()), ..self.clone() }
    }

    /// Notes what is read and written, where that is done.
    pub(crate) fn footprint(&self) -> Option<&Footprint> {
        self.footprint.as_ref()
    }

    /// Probes whether the store keeps concurrent writers apart; `None` for a local folder, where the file system does.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the store cannot be written.
    pub async fn probe(&self) -> Result<Option<StoreTruth>> {
        match &self.made()?.fence {
            None => Ok(None),
            Some(fence) => fence.probe().await.map(Some).map_err(|e| explain("cannot probe the store", e)),
        }
    }

    /// The lock around commits, where one is set.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the setting cannot be read.
    pub fn lock(&self) -> Result<Option<LockSetting>> {
        self.options.get(LOCK_OPTION).map(|text| text.parse()).transpose()
    }

    /// Asks the lock's server whether it is there.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it does not answer.
    pub async fn check_lock(&self) -> Result<()> {
        match &self.made()?.fence {
            Some(fence) => fence.check_lock().await,
            None => Ok(()),
        }
    }

    /// Gives up uploads in parts to objects of `folder`, relative to the root, that were begun before `older_than` and not finished; only counts
    /// them with `dry_run`. `None` when the store does not tell of them; a local folder has none.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the store cannot be asked.
    pub(crate) async fn give_up_uploads(&self, folder: &str, older_than: DateTime<Utc>, dry_run: bool) -> Result<Option<u64>> {
        if self.local_path().is_some() {
            return Ok(Some(0));
        }
        let uploads = Uploads::of(&self.url, &self.options)?;
        let prefix = self.prefix()?.parts().chain(Path::from(folder).parts()).collect();
        let Some(unfinished) = uploads.below(&prefix).await? else { return Ok(None) };
        let mut count = 0;
        for upload in unfinished.iter().filter(|u| u.initiated < older_than) {
            if !dry_run {
                uploads.abort(upload).await?;
            }
            count += 1;
        }
        Ok(Some(count))
    }

    fn made(&self) -> Result<&Bucket> {
        if self.bucket.get().is_none() {
            // Two that come at once make two, and one is kept.
            let _ = self.bucket.set(self.make()?);
        }
        self.bucket.get().ok_or_else(|| Error::new(ErrorKind::Internal, "the store's client is not there"))
    }

    fn make(&self) -> Result<Bucket> {
        if self.local_path().is_some() {
            return Ok(Bucket { store: Arc::new(LocalFileSystem::new()), fence: None });
        }
        let client = connect(&self.url, &self.options)?;
        let bookkeeping = self.prefix()?.join(BOOKKEEPING);
        let fenced = Arc::new(Fenced::new(client, self.url.host_str().unwrap_or_default(), bookkeeping, self.lock()?));
        Ok(Bucket { store: fenced.clone(), fence: Some(fenced) })
    }

    /// Where the root begins in its store.
    fn prefix(&self) -> Result<Path> {
        match self.local_path() {
            Some(path) => Path::from_absolute_path(&path)
                .map_err(|e| Error::new(ErrorKind::Config, format!("cannot use `{}`", path.display())).with_source(e)),
            None => Path::from_url_path(self.url.path())
                .map_err(|e| Error::new(ErrorKind::Config, format!("cannot use `{}`", self.url)).with_source(e)),
        }
    }

    /// The path of `relative` in [`Root::store`].
    pub fn path(relative: &str) -> Path {
        Path::from(relative)
    }
}

/// A client of the bucket that `url` (`s3://bucket/...`) names, from the bucket's root on: with retries, timeouts and a circuit breaker.
///
/// # Errors
/// [`ErrorKind::Config`] for an option that cannot be.
pub fn connect(url: &Url, options: &HashMap<String, String>) -> Result<Arc<dyn ObjectStore>> {
    Ok(Arc::new(s3::client(url, options)?))
}

fn local_url(path: &FilePath) -> Result<Url> {
    let absolute = std::path::absolute(path).map_err(|e| local_error("cannot resolve the path", path, e))?;
    Url::from_directory_path(&absolute)
        .map_err(|()| Error::new(ErrorKind::Config, format!("`{}` is not a folder's path", path.display())))
}

fn local_error(what: &str, path: &FilePath, source: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("{what} `{}`: {source}", path.display())).with_source(source)
}
