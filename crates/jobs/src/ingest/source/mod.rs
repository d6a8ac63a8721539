//! Which files an ingest reads: one file, a folder, or a pattern, on this machine or in a bucket.

pub mod contract;
mod local;
mod pattern;
mod s3;

use std::fmt::Debug;

use async_trait::async_trait;
use lake::{Error, ErrorKind, Lake, Result};
use tokio_util::sync::CancellationToken;

use super::fingerprint::Fingerprint;
use super::format::{Format, Input};

pub use local::LocalStore;
pub use s3::S3Store;

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// As stored in `_source`: of a local file relative where the user gave a relative path, with `/` between its parts and without `.`;
    /// else the whole URL, such as `s3://bucket/key`, with nothing encoded.
    pub path: String,
    /// Bytes as stored.
    pub size: u64,
    /// Nanoseconds since 1970 in UTC; 0 where the store does not tell.
    pub modified: i64,
    /// The store's own tag of the content, where it has one.
    pub etag: Option<String>,
    /// A hash of the four above, never negative: another file under the same path has another.
    pub fingerprint: i64,
}

impl SourceFile {
    /// A file and its fingerprint.
    pub fn new(path: String, size: u64, modified: i64, etag: Option<String>) -> Self {
        let mut fingerprint = Fingerprint::default();
        fingerprint.part(&path);
        fingerprint.part(&size.to_string());
        fingerprint.part(&modified.to_string());
        fingerprint.part(etag.as_deref().unwrap_or_default());
        Self { fingerprint: fingerprint.finish(), path, size, modified, etag }
    }
}

/// A place that holds source files. Every adapter passes the tests of [`contract`].
#[async_trait]
pub trait SourceStore: Debug + Send + Sync {
    /// The files that `pattern` names, sorted by path, each once. A file, a folder (all files below whose ending is one of
    /// `format`, or of any format), or a pattern with `*`, `?`, `[...]` and `**`. Empty files are left out, and so is what lies behind a
    /// name that starts with `.` or `_`, unless `pattern` names it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no file is named (empty ones count as named), [`ErrorKind::Config`] when `pattern` is none,
    /// [`ErrorKind::Storage`] when the place cannot be read.
    async fn list(&self, pattern: &str, format: Option<Format>) -> Result<Vec<SourceFile>>;

    /// The bytes of `file`, which [`SourceStore::list`] gave. Once `stop` is cancelled, reading what comes over a network fails soon.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it cannot be read or is no longer the file that was listed. Where the first bytes are asked for later,
    /// reading them gives that error.
    async fn open(&self, file: &SourceFile, stop: &CancellationToken) -> Result<Input>;
}

/// The store that `pattern` points into, with what `lake` knows of reaching it.
///
/// # Errors
/// [`ErrorKind::Config`] for a scheme that no store serves, and for settings that cannot be.
pub fn connect(pattern: &str, lake: &Lake) -> Result<Box<dyn SourceStore>> {
    match pattern.split_once("://") {
        None | Some(("file", _)) => Ok(Box::new(LocalStore::default())),
        Some(("s3" | "s3a", _)) => Ok(Box::new(S3Store::connect(pattern, lake.source_options(), lake.root().options())?)),
        Some((scheme, _)) => Err(Error::new(ErrorKind::Config, format!("sources cannot be read from `{scheme}://`"))
            .with_hint("use a path on this machine, `file:///...`, or `s3://bucket/...`")),
    }
}

fn changed(path: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("`{path}` changed after it was listed"))
        .with_hint("run again when the file is complete; deliver files under another name first and rename them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_has_another_fingerprint() {
        let file = SourceFile::new("a".into(), 1, 2, None);
        assert_eq!(file, SourceFile::new("a".into(), 1, 2, None));
        for other in [
            SourceFile::new("b".into(), 1, 2, None),
            SourceFile::new("a".into(), 2, 2, None),
            SourceFile::new("a".into(), 1, 3, None),
            SourceFile::new("a".into(), 1, 2, Some("e".into())),
        ] {
            assert_ne!(file.fingerprint, other.fingerprint);
        }
    }

    #[test]
    fn a_scheme_that_no_store_serves_is_told() {
        let lake = Lake::builder().uri("/tmp/lake").source_option("SOURCE_AWS_SKIP_SIGNATURE", "true").build().unwrap();
        assert!(connect("data/*.csv", &lake).is_ok());
        assert!(connect("file:///data", &lake).is_ok());
        assert!(connect("s3://bucket/data", &lake).is_ok());
        assert_eq!(connect("ftp://host/x", &lake).unwrap_err().to_string(), "sources cannot be read from `ftp://`");
    }
}
