//! What every job is given: the lake, what it may touch, who it works for, and whom to tell.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lake::pipeline::{CompiledSilver, TableName};
use lake::report::TableReport;
use lake::table::{Scope, Turns};
use lake::{Error, ErrorKind, Lake, Result};
use tokio_util::sync::CancellationToken;

use crate::feed::Handover;

/// For how long a job starts anew when other writers keep committing first.
const KEEP_TRYING: Duration = Duration::from_secs(15 * 60);

/// After so many attempts a writer asks for a turn.
const PATIENT_ATTEMPTS: u32 = 3;

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
    /// Silver tables of the run that read the Bronze table at hand.
    pub(crate) readers: Arc<Vec<CompiledSilver>>,
    /// What the jobs of the run leave for each other.
    pub(crate) handover: Handover,
}

impl JobContext {
    /// Fails when the user asked to stop.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`].
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(cancelled()) } else { Ok(()) }
    }

    /// Says of which workspaces the batch at hand is, `None` being all of them: what a feed's job touches beside them is not committed.
    pub(crate) fn name(&self, workspaces: Option<BTreeSet<String>>) {
        if let Some(footprint) = self.lake.footprint() {
            footprint.name(workspaces);
        }
    }

    /// Runs `work`, which commits to `table`, again from its reading on as long as another writer commits first. One that was overtaken again and
    /// again asks for a turn.
    ///
    /// # Errors
    /// Those of `work`; [`ErrorKind::Conflict`] when it never came first.
    pub async fn until_committed<F: Future<Output = Result<TableReport>>>(
        &self,
        table: &TableName,
        mut work: impl FnMut() -> F,
    ) -> Result<TableReport> {
        let mut turns = Turns::of(&self.lake, table)?;
        let started = Instant::now();
        for attempt in 1.. {
            self.check_cancelled()?;
            let done = tokio::select! {
                () = self.cancel.cancelled() => Err(cancelled()),
                done = async { turns.wait().await; work().await } => done,
            };
            match done {
                Err(error) if error.kind() == ErrorKind::Conflict && started.elapsed() < KEEP_TRYING => {
                    tracing::info!(attempt, %table, "another writer committed first, starting again");
                    if attempt >= PATIENT_ATTEMPTS {
                        turns.ask().await;
                    }
                    tokio::time::sleep(pause(attempt)).await;
                }
                other => {
                    turns.finish().await;
                    return other.map(|report| TableReport { attempts: attempt, ..report });
                }
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("other writers of `{table}` always committed first")))
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "stopped; every table is as its last commit left it")
}

/// Up to 2^attempt times 20 ms, at most 2 s, so that writers who met do not meet again.
fn pause(attempt: u32) -> Duration {
    let most = 20u64.saturating_mul(1 << attempt.min(7)).min(2_000);
    Duration::from_millis(rand::random_range(0..most))
}
