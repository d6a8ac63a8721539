//! `run.json`: what a run did. The file, `lake run --output json` and the summary on the terminal are this one value.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::forecast::TablePlan;

/// The schema name of [`RunReport`].
pub const RUN_SCHEMA: &str = "lake.run.v1";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Every table is up to date.
    Succeeded,
    /// At least one table failed.
    Failed,
    /// The user stopped it; every table is whole.
    Interrupted,
}

/// How one table's job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableStatus {
    /// A new version was committed.
    Written,
    /// There was nothing to do; no version was committed.
    Unchanged,
    /// The job failed; the table is as it was.
    Failed,
    /// Not tried, because a table it reads from failed or the run was stopped.
    Skipped,
}

/// How the rows got into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Files were added.
    Append,
    /// Files that held a changed key were rewritten.
    Merge,
    /// Rows that changed were marked as deleted, and their new versions added.
    MergeOnRead,
    /// The partitions of the workspaces that changed were replaced.
    Replace,
    /// Those groups of a query's result that the change touches were computed again.
    Refresh,
}

/// One run of a pipeline. `null` is unknown, `0` is exactly zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// [`RUN_SCHEMA`].
    pub schema: String,
    /// UUIDv7.
    pub run_id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// How it ended.
    pub status: RunStatus,
    /// UTC.
    pub started_at: DateTime<Utc>,
    /// Wall time.
    pub seconds: f64,
    /// Peak resident memory of the process, bytes; `null` where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// The workspaces whose rows were read or written, sorted.
    pub workspaces: Vec<String>,
    /// In the order of work.
    pub tables: Vec<TableReport>,
    /// Vector collections and graphs.
    pub sinks: Vec<SinkReport>,
}

/// One table of a run. `rows_read = rows_written + rows_dropped + rows_quarantined + rows_superseded + rows_deleted`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableReport {
    /// `layer.name`.
    pub table: String,
    /// How it ended.
    pub status: TableStatus,
    /// `null` when nothing was written.
    pub strategy: Option<Strategy>,
    /// Why that strategy; holds no row values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Rows that reached the table's checks: records of files (bronze), rows of the input (silver), rows the query
    /// returned (gold).
    pub rows_read: u64,
    /// Rows that are now in the table because of this run.
    pub rows_written: u64,
    /// Delete events applied.
    pub rows_deleted: u64,
    /// Rows left out by `where` or by an expectation that drops.
    pub rows_dropped: u64,
    /// Rows sent to the quarantine table.
    pub rows_quarantined: u64,
    /// Rows that a later row of the same key made void.
    pub rows_superseded: u64,
    /// Data files written.
    pub files_written: u64,
    /// Bytes of those files.
    pub bytes_written: u64,
    /// Version before; `null` when the table did not exist.
    pub version_from: Option<i64>,
    /// Version after; `null` when the table does not exist.
    pub version_to: Option<i64>,
    /// Wall time.
    pub seconds: f64,
    /// Source files read (bronze) or input files read (silver, gold). Files of which single rows were looked up to follow a change, and
    /// which are no longer files of the input, do not count.
    pub files_read: u64,
    /// Bytes of the files read, as they are stored.
    #[serde(default)]
    pub bytes_read: u64,
    /// Rows of the files read: of gold those of its inputs, where `rows_read` are those that the query returned.
    #[serde(default)]
    pub input_rows: Option<u64>,
    /// Files that this run took out of the table, as their rows were written anew or went.
    #[serde(default)]
    pub files_rewritten: u64,
    /// Bytes of those files.
    #[serde(default)]
    pub bytes_rewritten: u64,
    /// The rows in them.
    #[serde(default)]
    pub rows_rewritten: Option<u64>,
    /// Peak resident memory of the process up to the end of this table's job, bytes.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// What was expected of all this when the job began; `null` where there was nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<TablePlan>,
    /// How often the work was done: more than once when another writer committed first and what it did mattered.
    #[serde(default)]
    pub attempts: u32,
    /// How often the commit was sent again because another writer committed first and what it did made no difference.
    #[serde(default)]
    pub commits_resent: u32,
    /// Partitions of this and of other tables of which files were read, those of attempts that came to nothing included.
    #[serde(default)]
    pub partitions_read: Partitions,
    /// Partitions of this table and of those beside it in which files were written, likewise. Every one was checked to be of the run's
    /// workspaces before anything was committed.
    #[serde(default)]
    pub partitions_written: Partitions,
    /// What each expectation found.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expectations: BTreeMap<String, ExpectationReport>,
    /// Rows in quarantine by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quarantine_reasons: BTreeMap<String, u64>,
    /// Why it failed or was skipped; holds no row values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

/// Partitions by their folders below the lake's root as the store has them (`silver/posts/workspace_id=acme`). In JSON a sorted list; of more than
/// [`LISTED_PARTITIONS`] an object of their `count` and the `sha256`, in hexadecimal, of the sorted list with a line feed after each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Partitions {
    /// All of them, sorted.
    Listed(Vec<String>),
    /// Too many to list.
    Many {
        /// How many.
        count: u64,
        /// Of the sorted list.
        sha256: String,
    },
}

/// The most partitions that a report lists.
pub const LISTED_PARTITIONS: usize = 1000;

impl Partitions {
    /// The partitions of `folders`, which are sorted and distinct.
    pub(crate) fn of(folders: impl ExactSizeIterator<Item = String>) -> Self {
        if folders.len() <= LISTED_PARTITIONS {
            return Self::Listed(folders.collect());
        }
        let count = folders.len() as u64;
        let mut hash = Sha256::new();
        for folder in folders {
            hash.update(folder.as_bytes());
            hash.update(b"\n");
        }
        Self::Many { count, sha256: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

impl Default for Partitions {
    fn default() -> Self {
        Self::Listed(vec![])
    }
}

/// What one expectation found in one run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationReport {
    /// Rows for which it holds.
    pub passed: u64,
    /// Rows for which it is false or null.
    pub failed: u64,
}

/// An error as a user sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How a sink stands to the table it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkStatus {
    /// It is as the table is.
    InStep,
    /// The table has changes that it does not have; the next run brings them.
    Behind,
}

/// One sink of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkReport {
    /// `vectors.name`, or `graph.` and the pipeline's name.
    pub sink: String,
    /// The store, without secrets: `Qdrant at http://localhost:6334`, or `tables` of the lake.
    pub store: String,
    /// How it stands.
    pub status: SinkStatus,
    /// Points, nodes or edges written.
    pub upserted: u64,
    /// Points, nodes or edges removed.
    pub deleted: u64,
    /// The version of the followed table that the sink is true for; of several tables the lowest.
    pub source_version: Option<i64>,
    /// Wall time.
    pub seconds: f64,
    /// Why it is behind; holds no row values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

impl TableReport {
    /// A report in which nothing has happened yet.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            status: TableStatus::Unchanged,
            strategy: None,
            reason: None,
            rows_read: 0,
            rows_written: 0,
            rows_deleted: 0,
            rows_dropped: 0,
            rows_quarantined: 0,
            rows_superseded: 0,
            files_written: 0,
            bytes_written: 0,
            version_from: None,
            version_to: None,
            seconds: 0.0,
            files_read: 0,
            bytes_read: 0,
            input_rows: Some(0),
            files_rewritten: 0,
            bytes_rewritten: 0,
            rows_rewritten: Some(0),
            peak_memory_bytes: None,
            plan: None,
            attempts: 0,
            commits_resent: 0,
            partitions_read: Partitions::default(),
            partitions_written: Partitions::default(),
            expectations: BTreeMap::new(),
            quarantine_reasons: BTreeMap::new(),
            error: None,
        }
    }

    /// Whether every row read is accounted for.
    pub fn adds_up(&self) -> bool {
        self.rows_read == self.rows_written + self.rows_dropped + self.rows_quarantined + self.rows_superseded + self.rows_deleted
    }
}
