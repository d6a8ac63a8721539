//! What every job is given: the lake, what it may touch, who it works for, and whom to tell.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lake::table::Scope;
use lake::{Error, ErrorKind, Lake, Result};
use tokio_util::sync::CancellationToken;

/// How often a job starts anew when other writers keep committing first.
const ATTEMPTS: u32 = 20;

/// Told about progress while a run goes on. Calls come from several threads and must not block.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A table's job begins; `bytes` is the size of its input where that is known.
    fn started(&self, table: &str, bytes: Option<u64>);
    /// `rows` and `bytes` more were read since the last call.
    fn advanced(&self, table: &str, rows: u64, bytes: u64);
    /// A table's job ended.
    fn finished(&self, report: &lake::report::TableReport);
}

/// An observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn started(&self, _table: &str, _bytes: Option<u64>) {}
    fn advanced(&self, _table: &str, _rows: u64, _bytes: u64) {}
    fn finished(&self, _report: &lake::report::TableReport) {}
}

/// What a job is given. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The tables.
    pub lake: Lake,
    /// What the run may touch.
    pub scope: Scope,
    /// UUIDv7; in every row of Bronze and in every commit.
    pub run_id: String,
    /// One time for the whole run.
    pub started_at: DateTime<Utc>,
    /// Rebuild tables from all of their input.
    pub full_refresh: bool,
    /// Told about progress.
    pub observer: Arc<dyn Observer>,
    /// Set when the user asks to stop.
    pub cancel: CancellationToken,
}

impl JobContext {
    /// Fails when the user asked to stop.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`].
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(cancelled()) } else { Ok(()) }
    }

    /// Runs `work` again, from its reading on, as long as another writer commits first.
    ///
    /// # Errors
    /// Those of `work`; [`ErrorKind::Conflict`] when it never came first.
    pub async fn until_committed<T, F: Future<Output = Result<T>>>(&self, mut work: impl FnMut() -> F) -> Result<T> {
        let mut attempt = 0;
        loop {
            self.check_cancelled()?;
            let done = tokio::select! {
                () = self.cancel.cancelled() => Err(cancelled()),
                done = work() => done,
            };
            match done {
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {
                    attempt += 1;
                    tracing::info!(attempt, "another writer committed first, starting again");
                    tokio::time::sleep(pause(attempt)).await;
                }
                other => return other,
            }
        }
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "stopped; every table is as its last commit left it")
}

/// Between 0 and 2^attempt times 20 ms, at most 2 s, so that writers who met do not meet again.
fn pause(attempt: u32) -> Duration {
    let most = 20u64.saturating_mul(1 << attempt.min(7)).min(2_000);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| u64::from(d.subsec_nanos()));
    Duration::from_millis((nanos ^ (nanos >> 7) ^ u64::from(std::process::id())) % most)
}
