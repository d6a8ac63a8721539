//! Where a lake lives: a local folder or a bucket, as a URL, an object store and the options Delta needs to reach it.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// The root of a lake.
#[derive(Debug, Clone)]
pub struct Root {
    url: Url,
    options: HashMap<String, String>,
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
        Ok(Self { url, options })
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

    /// A store whose paths are relative to the root. A local root is made with the first object that is put into it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the path cannot be used or the client cannot be configured.
    pub fn store(&self) -> Result<Arc<dyn ObjectStore>> {
        if let Some(path) = self.local_path() {
            let prefix = Path::from_absolute_path(&path)
                .map_err(|e| Error::new(ErrorKind::Config, format!("cannot use `{}`", path.display())).with_source(e))?;
            return Ok(Arc::new(PrefixStore::new(LocalFileSystem::new(), prefix)));
        }
        let (store, prefix) = object_store::parse_url_opts(&self.url, &self.options)
            .map_err(|e| Error::new(ErrorKind::Config, format!("cannot use `{}`", self.url)).with_source(e))?;
        Ok(if prefix.as_ref().is_empty() { store.into() } else { Arc::new(PrefixStore::new(store, prefix)) })
    }

    /// The path of `relative` in [`Root::store`].
    pub fn path(relative: &str) -> Path {
        Path::from(relative)
    }
}

fn local_url(path: &FilePath) -> Result<Url> {
    let absolute = std::path::absolute(path).map_err(|e| local_error("cannot resolve the path", path, e))?;
    Url::from_directory_path(&absolute)
        .map_err(|()| Error::new(ErrorKind::Config, format!("`{}` is not a folder's path", path.display())))
}

fn local_error(what: &str, path: &FilePath, source: std::io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("{what} `{}`: {source}", path.display())).with_source(source)
}
