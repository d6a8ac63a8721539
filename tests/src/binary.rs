//! The `lake` binary and what it leaves when it ends.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

pub use crate::bench::{Bench, Location, Place};

/// The checkout.
pub fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The binary that was built along with the tests.
///
/// # Panics
/// When it is not there, with how to get it.
#[expect(clippy::panic, reason = "test support, where a binary that is missing has to fail the test")]
pub fn lake_binary() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|test| Some(test.parent()?.parent()?.join("lake")));
    match beside {
        Some(binary) if binary.is_file() => binary,
        _ => panic!("there is no `lake` beside this test; build all members: `cargo test --workspace`"),
    }
}

/// A command that ended.
#[derive(Debug)]
pub struct Finished(pub Output);

impl Finished {
    /// The exit code; -1 when a signal ended it.
    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap_or(-1)
    }

    /// What it wrote as results.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// What it said.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// All it wrote: the summary of a run, with the reasons of failures, is a result; progress and errors of the command are talk.
    pub fn said(&self) -> String {
        self.stdout() + &self.stderr()
    }

    /// Itself, when it succeeded.
    ///
    /// # Panics
    /// When it did not.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code(), 0, "stdout: {}\nstderr: {}", self.stdout(), self.stderr());
        self
    }

    /// Its result as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[expect(clippy::panic, reason = "test support")]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|e| panic!("no JSON ({e}): {}\n{}", self.stdout(), self.stderr()))
    }
}

/// The report of a table in a run's report.
///
/// # Panics
/// When there is none.
#[expect(clippy::panic, reason = "test support")]
pub fn table<'a>(report: &'a Value, name: &str) -> &'a Value {
    let tables = report["tables"].as_array().into_iter().flatten();
    tables.into_iter().find(|t| t["table"] == name).unwrap_or_else(|| panic!("no table `{name}` in {report}"))
}

/// Checks that every row read by every table is accounted for.
///
/// # Panics
/// When one is not.
pub fn assert_adds_up(report: &Value) {
    for table in report["tables"].as_array().into_iter().flatten() {
        let count = |name: &str| table[name].as_u64().unwrap_or_default();
        let sum: u64 =
            ["rows_written", "rows_dropped", "rows_quarantined", "rows_superseded", "rows_deleted"].map(count).iter().sum();
        assert_eq!(count("rows_read"), sum, "{table}");
    }
}
