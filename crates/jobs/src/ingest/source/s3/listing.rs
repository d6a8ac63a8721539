//! Finding the objects that a key or pattern names, with as little listing as it takes.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use lake::{Error, Result};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStoreExt};

use super::Bucket;
use crate::ingest::format::Format;
use crate::ingest::source::pattern::{
    OPTIONS, has_ending, is_glob, is_hidden, is_hidden_name, nearest_name, no_ending, no_match, no_pattern,
};

/// Keys that are looked at to say what there is instead of what was named.
const KEYS_FOR_A_HINT: usize = 1000;

/// One search in a bucket.
pub(super) struct Listing<'a> {
    pub(super) bucket: &'a Bucket,
    pub(super) format: Option<Format>,
}

impl Listing<'_> {
    /// The objects that `key` names: itself, all below it, or what it matches.
    pub(super) async fn find(&self, key: &str) -> Result<Vec<ObjectMeta>> {
        if is_glob(key) {
            return self.matching(key).await;
        }
        // A bucket may allow to read a known key and not to list.
        let denied = match self.object(key).await? {
            Ok(Some(object)) => return Ok(vec![object]),
            Ok(None) => None,
            Err(denied) => Some(denied),
        };
        let (found, any) = self.below(key).await?;
        match (found.is_empty(), denied) {
            (false, _) => Ok(found),
            (true, Some(denied)) => Err(denied),
            (true, None) if any || key.is_empty() => Err(no_ending(&self.bucket.path(key), self.format)),
            (true, None) => Err(self.missing(key).await),
        }
    }

    /// The object of exactly this key; the inner error says that it may not be read.
    async fn object(&self, key: &str) -> Result<Result<Option<ObjectMeta>, Error>> {
        if key.is_empty() {
            return Ok(Ok(None));
        }
        match self.bucket.store.head(&self.path(key)?).await {
            Ok(object) => Ok(Ok(Some(object))),
            Err(StoreError::NotFound { .. }) => Ok(Ok(None)),
            Err(error @ (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. })) => {
                Ok(Err(self.fail(key, error)))
            }
            Err(error) => Err(self.fail(key, error)),
        }
    }

    /// The objects below `folder` with an ending that is asked for, and whether there is any object.
    async fn below(&self, folder: &str) -> Result<(Vec<ObjectMeta>, bool)> {
        let mut found = vec![];
        let mut any = false;
        let mut listing = self.bucket.store.list(Some(&self.path(folder)?));
        while let Some(object) = listing.try_next().await.map_err(|e| self.fail(folder, e))? {
            any = true;
            if self.is_wanted(object.location.as_ref(), folder) {
                found.push(object);
            }
        }
        Ok((found, any))
    }

    /// The objects that match `pattern`; an object or folder of exactly this name goes before.
    async fn matching(&self, pattern: &str) -> Result<Vec<ObjectMeta>> {
        let glob = glob::Pattern::new(pattern).map_err(|e| no_pattern(&self.bucket.path(pattern), &e))?;
        let literal = &pattern[..pattern.find(['*', '?', '[']).unwrap_or(pattern.len())];
        let folder = literal.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder_path = self.path(folder)?;
        let mut listing = match just_before(literal, folder) {
            Some(offset) => self.bucket.store.list_with_offset(Some(&folder_path), &self.path(&offset)?),
            None => self.bucket.store.list(Some(&folder_path)),
        };
        let (mut itself, mut below, mut matching) = (None, vec![], vec![]);
        while let Some(object) = listing.try_next().await.map_err(|e| self.fail(pattern, e))? {
            let key = object.location.as_ref();
            if self.is_sorted() && !key.starts_with(literal) && key > literal {
                break;
            }
            if key == pattern {
                itself = Some(object);
            } else if is_below(key, pattern) {
                below.extend(Some(object).filter(|o| self.is_wanted(o.location.as_ref(), pattern)));
            } else if glob.matches_with(key, OPTIONS) && !is_hidden(key, pattern) {
                matching.push(object);
            }
        }
        match (itself, below.is_empty(), matching.is_empty()) {
            (Some(object), ..) => Ok(vec![object]),
            (None, false, _) => Ok(below),
            (None, true, false) => Ok(matching),
            (None, true, true) => Err(self.missing(pattern).await),
        }
    }

    fn is_wanted(&self, key: &str, folder: &str) -> bool {
        let below = if folder.is_empty() { key } else { key.get(folder.len() + 1..).unwrap_or_default() };
        let name = below.rsplit('/').next().unwrap_or_default();
        !below.split('/').any(is_hidden_name) && has_ending(name, self.format)
    }

    /// The error for a key or pattern that names nothing, with the nearest thing that is there.
    async fn missing(&self, key: &str) -> Error {
        let error = no_match(&self.bucket.path(key));
        let mut there = String::new();
        for part in key.split('/') {
            let next = if there.is_empty() { part.to_owned() } else { format!("{there}/{part}") };
            let exists = if is_glob(part) { Ok(false) } else { self.names(&next, 1).await.map(|names| !names.is_empty()) };
            match exists {
                Ok(true) => there = next,
                Ok(false) => {
                    return match self.names(&there, KEYS_FOR_A_HINT).await {
                        Ok(names) => error.with_hint(self.nearest_to(&there, part, &names)),
                        Err(_) => error,
                    };
                }
                Err(_) => return error,
            }
        }
        error
    }

    fn nearest_to(&self, folder: &str, part: &str, names: &BTreeSet<String>) -> String {
        let path = self.bucket.path(folder);
        match names.contains(part) {
            true => format!("`{path}/{part}` is a file, not a folder"),
            false => nearest_name(&format!("`{path}`"), part, names),
        }
    }

    /// The names right below `folder`, going by its first `most` keys.
    async fn names(&self, folder: &str, most: usize) -> Result<BTreeSet<String>> {
        let start = if folder.is_empty() { 0 } else { folder.len() + 1 };
        let listing = self.bucket.store.list(Some(&self.path(folder)?)).take(most);
        let name = |object: ObjectMeta| {
            let below = object.location.as_ref().get(start..)?;
            Some(below.split('/').next().unwrap_or_default().to_owned()).filter(|n| !n.is_empty())
        };
        listing.try_filter_map(|o| std::future::ready(Ok(name(o)))).try_collect().await.map_err(|e| self.fail(folder, e))
    }

    /// Express buckets list in no order.
    fn is_sorted(&self) -> bool {
        !self.bucket.name.ends_with("--x-s3")
    }

    fn path(&self, key: &str) -> Result<Path> {
        Path::parse(key).map_err(|e| self.fail(key, e.into()))
    }

    fn fail(&self, key: &str, error: StoreError) -> Error {
        // A server tells a bucket that is not there by the same status as a key that is not.
        let no_bucket = matches!(error, StoreError::NotFound { .. });
        let place = if no_bucket { self.bucket.path("") } else { self.bucket.path(key) };
        let what = format!("`{place}` cannot be listed");
        self.bucket.error(&what, error)
    }
}

fn is_below(key: &str, folder: &str) -> bool {
    key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// A key that sorts before all that start with `literal` and behind most that do not, so that a listing of `folder` can start there;
/// `None` where it has to start at the folder's first key.
fn just_before(literal: &str, folder: &str) -> Option<String> {
    let name = literal.get(folder.len()..)?.trim_start_matches('/');
    let (last, rest) = name.as_bytes().split_last()?;
    let usual = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !usual(*last) {
        return None;
    }
    let kept = literal.len() - name.len() + rest.len();
    // Before `0` comes `/`, which would end the name.
    let before = if *last == b'0' { '.' } else { char::from(last - 1) };
    Some(format!("{}{before}~", &literal[..kept]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_starts_right_before_what_is_looked_for() {
        assert_eq!(just_before("a/2026-", "a"), Some("a/2026,~".into()));
        assert_eq!(just_before("posts", ""), Some("postr~".into()));
        assert_eq!(just_before("a/", "a"), None);
        assert_eq!(just_before("", ""), None);
        assert_eq!(just_before("a/é", "a"), None);
        assert_eq!(just_before("a/b/x.", "a/b"), None);
        for (literal, folder) in [("a/2026-", "a"), ("posts", ""), ("z/A0", "z"), ("z/_", "z"), ("z/0", "z"), ("00", "")] {
            let offset = just_before(literal, folder).unwrap();
            assert!(offset.as_str() < literal && offset.starts_with(folder), "{offset}");
            assert!(Path::parse(&offset).is_ok());
        }
    }
}
