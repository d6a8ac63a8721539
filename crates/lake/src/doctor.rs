//! What stands in the way of a run, found step by step: the store, its fence, the clock, room to spill, the tables.

use std::path::Path as FilePath;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::storage::{ADVICE, BOOKKEEPING, ConditionalCreate, LockSetting, StoreTruth, explain};
use crate::table::At;

/// How far the clocks may be apart before stores refuse signatures is 15 minutes; this is early enough to mend it.
const SKEW_TO_MENTION: Duration = Duration::from_secs(60);

/// Room below which a run may well fail.
const LITTLE_ROOM: u64 = 1 << 30;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// Nothing stands in the way.
    Ok,
    /// Runs work, but look at it.
    Warning,
    /// Runs will fail.
    Failed,
    /// Not tried, because something before it failed.
    Skipped,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub check: &'static str,
    /// How it ended.
    pub status: CheckStatus,
    /// What was seen.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// A check that went well.
    pub fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Ok, detail: detail.into(), hint: None }
    }

    /// A check that asks for attention.
    pub fn warning(check: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Warning, detail: detail.into(), hint: Some(hint.into()) }
    }

    /// A check that failed with `error`.
    pub fn failed(check: &'static str, error: &Error) -> Self {
        Self { check, status: CheckStatus::Failed, detail: error.to_string(), hint: error.hint().map(str::to_owned) }
    }

    fn skipped(check: &'static str) -> Self {
        Self { check, status: CheckStatus::Skipped, detail: "not tried: the store cannot be used".into(), hint: None }
    }
}

/// Looks at everything a run of this lake stands on. Writes small objects below `_lake/` and deletes them; changes no table.
pub async fn examine(lake: &Lake) -> Vec<Check> {
    let mut checks = vec![];
    let reached = reach(lake).await;
    let usable = reached.is_ok();
    checks.push(reached.unwrap_or_else(|e| Check::failed("store", &e)));
    if usable {
        checks.push(write(lake).await.unwrap_or_else(|e| Check::failed("write", &e)));
    } else {
        checks.push(Check::skipped("write"));
    }
    if lake.root().local_path().is_none() {
        let may_write = checks.iter().all(|c| c.status != CheckStatus::Failed);
        if may_write {
            checks.extend(fence(lake).await);
        } else {
            checks.push(Check::skipped("concurrent writers"));
        }
    }
    checks.push(match usable {
        true => tables(lake).await.unwrap_or_else(|e| Check::failed("tables", &e)),
        false => Check::skipped("tables"),
    });
    checks.push(spill(lake));
    checks.push(memory(lake));
    checks
}

async fn reach(lake: &Lake) -> Result<Check> {
    let root = lake.root();
    if let Some(folder) = root.local_path() {
        let there = if folder.is_dir() { "is there" } else { "will be made by the first run" };
        return Ok(Check::ok("store", format!("the folder {} {there}", folder.display())));
    }
    let listed = root.store()?.list_with_delimiter(None).await;
    listed.map_err(|e| explain(&format!("cannot list `{}`", root.url()), e))?;
    Ok(Check::ok("store", format!("{} answers and can be listed", root.url())))
}

/// Writes, reads and deletes an object, and compares the clocks.
async fn write(lake: &Lake) -> Result<Check> {
    if let Some(folder) = lake.root().local_path() {
        return write_to_disk(&folder);
    }
    let store = lake.root().store()?;
    let path = Path::from(format!("{BOOKKEEPING}/doctor/{}", uuid::Uuid::now_v7()));
    store.put(&path, PutPayload::from_static(b"lake doctor")).await.map_err(|e| explain("cannot write to the store", e))?;
    let now = Utc::now();
    let seen = store.head(&path).await.map_err(|e| explain("cannot read from the store", e))?;
    store.delete(&path).await.map_err(|e| explain("cannot delete from the store", e))?;
    let skew = (now - seen.last_modified).abs().to_std().unwrap_or_default();
    if skew > SKEW_TO_MENTION {
        return Ok(Check::warning(
            "write",
            format!(
                "objects can be written, read and deleted, but this machine's clock and the store's are {} s apart",
                skew.as_secs()
            ),
            "set the clock: at 15 minutes the store refuses every request",
        ));
    }
    Ok(Check::ok("write", "objects can be written, read and deleted; the clocks agree"))
}

fn write_to_disk(folder: &FilePath) -> Result<Check> {
    // The nearest folder that is there; the others are made by the first run.
    let there = folder.ancestors().find(|f| f.is_dir()).unwrap_or(folder);
    let made = tempfile::Builder::new().prefix(".lake-doctor-").tempfile_in(there);
    made.map_err(|e| explain(&format!("cannot write to `{}`", there.display()), e))?;
    Ok(match room(there) {
        Some(bytes) if bytes < LITTLE_ROOM => Check::warning(
            "write",
            format!("files can be written; {} MiB are free", bytes >> 20),
            "free some space before a large run",
        ),
        Some(bytes) => Check::ok("write", format!("files can be written; {} GiB are free", bytes >> 30)),
        None => Check::ok("write", "files can be written"),
    })
}

async fn fence(lake: &Lake) -> Vec<Check> {
    let lock = lake.root().lock().ok().flatten();
    let mut checks = vec![];
    match lake.root().probe().await {
        Err(error) => checks.push(Check::failed("concurrent writers", &error)),
        Ok(None) => {}
        Ok(Some(truth)) => {
            checks.push(fence_check(&truth, lock.as_ref()));
            if !truth.list_after_write || !truth.read_after_write {
                checks.push(Check::warning(
                    "consistency",
                    "the store does not show at once what was written",
                    "commits stay right, but a run may see the tables as they were a moment before; is there a cache in front of it?",
                ));
            }
        }
    }
    if matches!(lock, Some(LockSetting::Redis(_))) {
        checks.push(match lake.root().check_lock().await {
            Ok(()) => Check::ok("commit lock", "the lock server answers"),
            Err(error) => Check::failed("commit lock", &error),
        });
    }
    checks
}

fn fence_check(truth: &StoreTruth, lock: Option<&LockSetting>) -> Check {
    let races = truth.races;
    let seen = match truth.conditional_create {
        ConditionalCreate::Atomic => {
            return Check::ok("concurrent writers", format!("the store lets one of many writers win ({races} races)"));
        }
        ConditionalCreate::Ignored => "the store overwrites an object that must only be created if it is absent".to_owned(),
        ConditionalCreate::Racy => {
            format!("of writers who raced for one object, the store told {} that they had won", truth.most_winners)
        }
        ConditionalCreate::Unsupported => "the store refuses to create an object only if it is absent".to_owned(),
    };
    match lock {
        Some(LockSetting::Redis(_)) => Check::ok("concurrent writers", format!("{seen}; the commit lock keeps writers apart")),
        Some(LockSetting::SingleWriter) => Check::warning(
            "concurrent writers",
            format!("{seen}; you vouch that there is one writer"),
            "a second writer would lose commits; `LAKE_LOCK=redis://host:6379` keeps them apart",
        ),
        None => Check {
            check: "concurrent writers",
            status: CheckStatus::Failed,
            detail: format!("{seen}: writers would lose each other's commits, so runs are refused"),
            hint: Some(ADVICE.into()),
        },
    }
}

async fn tables(lake: &Lake) -> Result<Check> {
    let names = lake.tables().await?;
    let count = names.len();
    let broken: Vec<String> = futures::stream::iter(names)
        .map(|name| async move { lake.snapshot(&name, At::Latest).await.is_err().then(|| format!("`{name}`")) })
        .buffered(8)
        .filter_map(|broken| async { broken })
        .collect()
        .await;
    Ok(match broken.is_empty() {
        true => Check::ok("tables", format!("{count} tables, all can be opened")),
        false => Check::warning(
            "tables",
            format!("of {count} tables these cannot be opened: {}", broken.join(", ")),
            "`lake status --verbose` says why; `lake restore` or a copy of the log may mend it",
        ),
    })
}

fn spill(lake: &Lake) -> Check {
    let folder = lake.engine().spill_folder();
    match tempfile::Builder::new().prefix(".lake-doctor-").tempfile_in(&folder) {
        Err(error) => Check::failed(
            "spill",
            &explain(&format!("cannot write to `{}`, where large work is spilled", folder.display()), error),
        ),
        Ok(_) => match room(&folder) {
            Some(bytes) if bytes < LITTLE_ROOM => Check::warning(
                "spill",
                format!("{} has {} MiB free", folder.display(), bytes >> 20),
                "free some space, or set `TMPDIR` to a larger disk",
            ),
            Some(bytes) => Check::ok("spill", format!("{} has {} GiB free", folder.display(), bytes >> 30)),
            None => Check::ok("spill", format!("{} can be written", folder.display())),
        },
    }
}

fn memory(lake: &Lake) -> Check {
    match (lake.engine().memory(), total_memory()) {
        (Some(budget), Some(total)) if budget > total => Check::warning(
            "memory",
            format!("the budget is {} MiB, the machine has {} MiB", budget >> 20, total >> 20),
            "set `--memory` to less than the machine has",
        ),
        (Some(budget), _) => Check::ok("memory", format!("the budget is {} MiB", budget >> 20)),
        (None, Some(total)) => Check::ok("memory", format!("no budget; the machine has {} MiB", total >> 20)),
        (None, None) => Check::ok("memory", "no budget"),
    }
}

/// Bytes that may still be written to the file system of `folder`.
fn room(folder: &FilePath) -> Option<u64> {
    rustix::fs::statvfs(folder).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize))
}

fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_local_lake_is_fit_and_stays_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("not/yet");
        let lake = Lake::builder().uri(root.to_string_lossy()).build().unwrap();
        let checks = examine(&lake).await;
        assert!(checks.iter().all(|c| c.status == CheckStatus::Ok), "{checks:?}");
        assert!(!root.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_fails() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let lake = Lake::builder().uri("/proc/lake").build().unwrap();
        let checks = examine(&lake).await;
        let write = checks.iter().find(|c| c.check == "write").unwrap();
        assert_eq!(write.status, CheckStatus::Failed, "{write:?}");
    }

    #[test]
    fn a_store_without_a_fence_fails_unless_there_is_a_lock() {
        let truth = StoreTruth {
            schema: StoreTruth::SCHEMA.into(),
            probed_at: Utc::now(),
            conditional_create: ConditionalCreate::Racy,
            most_winners: 3,
            races: 6,
            list_after_write: true,
            read_after_write: true,
        };
        assert_eq!(fence_check(&truth, None).status, CheckStatus::Failed);
        assert_eq!(fence_check(&truth, Some(&LockSetting::SingleWriter)).status, CheckStatus::Warning);
        assert_eq!(fence_check(&truth, Some(&LockSetting::Redis("redis://h".into()))).status, CheckStatus::Ok);
    }
}
