//! Source files in a bucket.

mod access;
mod error;
mod fetch;
mod listing;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use lake::{Error, ErrorKind, Result};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::pattern::tidy;
use super::{SourceFile, SourceStore};
use crate::ingest::format::{Format, Input};
use access::Access;
use fetch::RemoteFile;
use listing::Listing;

/// The objects of one bucket.
#[derive(Debug, Clone)]
pub struct S3Store {
    bucket: Arc<Bucket>,
}

/// A bucket and how it is reached.
struct Bucket {
    name: String,
    store: Arc<dyn ObjectStore>,
    access: Access,
    /// The server, where one is named.
    endpoint: Option<String>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("name", &self.name).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Bucket {
    /// The path of an object, as `_source` keeps it.
    fn path(&self, key: &str) -> String {
        if key.is_empty() { format!("s3://{}", self.name) } else { format!("s3://{}/{key}", self.name) }
    }

    fn file(&self, object: ObjectMeta) -> SourceFile {
        SourceFile::new(self.path(object.location.as_ref()), object.size, whole_seconds(object.last_modified), object.e_tag)
    }
}

impl S3Store {
    /// The bucket that `pattern` (`s3://bucket/...`) names. `sources` are the variables that start with `SOURCE_`: those of this bucket
    /// (`SOURCE_<BUCKET>_AWS_...`) go before those of all (`SOURCE_AWS_...`); where there is none, `lake`, the options of the lake's own
    /// store, apply. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when no bucket is named or a setting cannot be.
    pub fn connect(pattern: &str, sources: &HashMap<String, String>, lake: &HashMap<String, String>) -> Result<Self> {
        let (name, _) = split(pattern)?;
        let access = Access::resolve(&name, sources, lake)?;
        let url = Url::parse(&format!("s3://{name}/")).map_err(|_| no_bucket(pattern))?;
        let store = lake::storage::connect(&url, &access.options)?;
        let endpoint = access.options.get("AWS_ENDPOINT_URL").map(|e| e.trim_end_matches('/').to_owned());
        Ok(Self { bucket: Arc::new(Bucket { name, store, access, endpoint }) })
    }
}

#[async_trait]
impl SourceStore for S3Store {
    async fn list(&self, pattern: &str, format: Option<Format>) -> Result<Vec<SourceFile>> {
        let (name, key) = split(pattern)?;
        if name != self.bucket.name {
            return Err(Error::new(ErrorKind::Internal, format!("`{pattern}` is not in the bucket `{}`", self.bucket.name)));
        }
        let objects = Listing { bucket: &self.bucket, format }.find(&key).await?;
        let mut files: Vec<_> = objects.into_iter().filter(|o| o.size > 0).map(|o| self.bucket.file(o)).collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(files)
    }

    async fn open(&self, file: &SourceFile, stop: &CancellationToken) -> Result<Input> {
        let (_, key) = file.path.strip_prefix("s3://").and_then(|p| p.split_once('/')).ok_or_else(|| no_bucket(&file.path))?;
        let location = Path::parse(key).map_err(|e| self.bucket.error(&format!("`{}` cannot be read", file.path), e.into()))?;
        Ok(Input::Ranged(Box::new(RemoteFile::new(self.bucket.clone(), location, file.clone(), stop.clone()))))
    }
}

/// The bucket and the key of `pattern`, the key without `.` and doubled `/`. Nothing is decoded: a key is what the store calls it.
fn split(pattern: &str) -> Result<(String, String)> {
    let rest = pattern.strip_prefix("s3://").or_else(|| pattern.strip_prefix("s3a://")).ok_or_else(|| no_bucket(pattern))?;
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    let usual = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if bucket.is_empty() || !bucket.chars().all(usual) {
        return Err(no_bucket(pattern));
    }
    if key.split('/').any(|part| part == "..") {
        return Err(Error::new(ErrorKind::Config, format!("`{pattern}` holds `..`, which no key can"))
            .with_hint("write the key from the bucket on"));
    }
    Ok((bucket.to_owned(), tidy(key)))
}

fn no_bucket(pattern: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`{pattern}` names no bucket")).with_hint(
        "write `s3://bucket/folder`, `s3://bucket/file.csv` or `s3://bucket/folder/*.csv`; the bucket's name has no wildcard",
    )
}

/// Nanoseconds since 1970, cut to whole seconds: a listing tells more of the time than the object's own headers, and both must agree.
fn whole_seconds(time: DateTime<Utc>) -> i64 {
    time.timestamp().saturating_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_bucket_and_a_key_as_the_store_calls_it() {
        let parts = |pattern: &str| split(pattern).map_err(|e| e.to_string());
        let is = |bucket: &str, key: &str| Ok((bucket.to_owned(), key.to_owned()));
        assert_eq!(parts("s3://b"), is("b", ""));
        assert_eq!(parts("s3a://b/"), is("b", ""));
        assert_eq!(parts("s3://b//a//./c d%20?.csv"), is("b", "a/c d%20?.csv"));
        assert_eq!(parts("s3://b/a/**"), is("b", "a/**/*"));
        assert_eq!(parts("s3:///a"), Err("`s3:///a` names no bucket".into()));
        assert_eq!(parts("s3://b*/a"), Err("`s3://b*/a` names no bucket".into()));
        assert_eq!(parts("s3://b/a/../c"), Err("`s3://b/a/../c` holds `..`, which no key can".into()));
    }

    #[test]
    fn what_is_shown_of_a_bucket_holds_no_keys() {
        let sources = [("SOURCE_AWS_ACCESS_KEY_ID", "AKIDX"), ("SOURCE_AWS_SECRET_ACCESS_KEY", "hunter2")];
        let sources = sources.map(|(n, v)| (n.to_string(), v.to_string())).into();
        let shown = format!("{:?}", S3Store::connect("s3://b/x", &sources, &HashMap::new()).unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("AKIDX"), "{shown}");
    }
}
