//! Entries of Delta logs that were read before: one open of a table reads each of them several times, and each run opens a table several times.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Attributes, GetOptions, GetResult, GetResultPayload, ObjectMeta};

/// The most bytes that are kept, of all entries and of one.
const KEPT: usize = 16 << 20;
const KEPT_OF_ONE: u64 = 1 << 20;

/// Entries by path. An entry is given out only while it is the object that the last listing showed: a table that was deleted and made anew has
/// others, and every open lists first.
#[derive(Debug, Default)]
pub(crate) struct Commits(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<Path, Entry>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    listed: Option<String>,
    read: Option<(ObjectMeta, Bytes)>,
}

impl Commits {
    /// Notes what a listing shows.
    pub(crate) fn listed(&self, object: &ObjectMeta) {
        if is_commit(&object.location) {
            self.kept().entries.entry(object.location.clone()).or_default().listed.clone_from(&object.e_tag);
        }
    }

    /// The entry at `path`, where it was read and is what was listed last.
    pub(crate) fn get(&self, path: &Path, options: &GetOptions) -> Option<GetResult> {
        if !is_whole(options) {
            return None;
        }
        let kept = self.kept();
        let Entry { listed: Some(listed), read: Some((meta, bytes)) } = kept.entries.get(path)? else { return None };
        (meta.e_tag.as_ref() == Some(listed)).then(|| result(meta.clone(), bytes.clone()))
    }

    /// Keeps an answer, where it is an entry of a log, and gives it on.
    pub(crate) async fn keep(&self, path: &Path, options: &GetOptions, answer: GetResult) -> object_store::Result<GetResult> {
        let wanted = is_whole(options) && is_commit(path) && answer.meta.e_tag.is_some() && answer.meta.size <= KEPT_OF_ONE;
        if !wanted {
            return Ok(answer);
        }
        let meta = answer.meta.clone();
        let bytes = answer.bytes().await?;
        let mut kept = self.kept();
        if kept.bytes + bytes.len() > KEPT {
            *kept = Kept::default();
        }
        kept.bytes += bytes.len();
        kept.entries.entry(path.clone()).or_default().read = Some((meta.clone(), bytes.clone()));
        drop(kept);
        Ok(result(meta, bytes))
    }

    /// Forgets the entry at `path`: it is written or deleted.
    pub(crate) fn forget(&self, path: &Path) {
        let mut kept = self.kept();
        if let Some((_, bytes)) = kept.entries.remove(path).and_then(|e| e.read) {
            kept.bytes = kept.bytes.saturating_sub(bytes.len());
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `path` is one version's entry in a Delta log: never changed once it is written.
fn is_commit(path: &Path) -> bool {
    let name = path.filename().and_then(|n| n.strip_suffix(".json"));
    name.is_some_and(|n| n.len() == 20 && n.bytes().all(|b| b.is_ascii_digit())) && path.as_ref().contains("_delta_log/")
}

fn is_whole(options: &GetOptions) -> bool {
    let conditions = options.if_match.is_some() || options.if_none_match.is_some();
    let times = options.if_modified_since.is_some() || options.if_unmodified_since.is_some();
    !(conditions || times || options.range.is_some() || options.version.is_some() || options.head)
}

fn result(meta: ObjectMeta, bytes: Bytes) -> GetResult {
    let range = 0..bytes.len() as u64;
    let payload = GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed());
    GetResult { payload, meta, range, attributes: Attributes::default() }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn meta(etag: &str) -> ObjectMeta {
        let location = Path::from("t/_delta_log/00000000000000000007.json");
        ObjectMeta { location, last_modified: DateTime::UNIX_EPOCH, size: 1, e_tag: Some(etag.into()), version: None }
    }

    async fn read(commits: &Commits, etag: &str) {
        let answer = result(meta(etag), Bytes::from_static(b"x"));
        commits.keep(&meta(etag).location, &GetOptions::default(), answer).await.unwrap();
    }

    fn known(commits: &Commits) -> bool {
        commits.get(&meta("").location, &GetOptions::default()).is_some()
    }

    #[tokio::test]
    async fn an_entry_is_given_out_only_as_long_as_listings_show_it() {
        let commits = Commits::default();
        read(&commits, "a").await;
        assert!(!known(&commits), "not listed yet");
        commits.listed(&meta("a"));
        assert!(known(&commits));
        assert!(commits.get(&meta("a").location, &GetOptions { head: true, ..Default::default() }).is_none());
        commits.listed(&meta("b"));
        assert!(!known(&commits), "another object of the same name");
        read(&commits, "b").await;
        assert!(known(&commits));
        commits.forget(&meta("b").location);
        assert!(!known(&commits));
    }

    #[test]
    fn only_entries_of_logs_are_kept() {
        assert!(is_commit(&meta("a").location));
        for other in [
            "t/_delta_log/_last_checkpoint",
            "t/00000000000000000007.json",
            "t/_delta_log/00000000000000000007.checkpoint.parquet",
        ] {
            assert!(!is_commit(&Path::from(other)), "{other}");
        }
    }
}
