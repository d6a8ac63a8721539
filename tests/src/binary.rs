//! The `lake` binary and runs of it in folders of their own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

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

/// A lake in a folder that vanishes with it; commands run in the checkout, so that shipped pipelines find their data.
#[derive(Debug)]
pub struct Bench {
    folder: tempfile::TempDir,
    env: Vec<(String, String)>,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// An empty lake.
    ///
    /// # Panics
    /// When no folder can be made.
    #[expect(clippy::expect_used, reason = "test support")]
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), env: vec![] }
    }

    /// With an environment variable for every command.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.env.push((name.to_string(), value.as_ref().to_string_lossy().into_owned()));
        self
    }

    /// The root of the lake.
    pub fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    /// A folder beside the lake.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command of `lake` that has not started. Nothing of this process's own settings reaches it.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(lake_binary());
        command.current_dir(checkout()).env("LAKE_URI", self.lake()).env("NO_COLOR", "1").args(args);
        for name in ["WORKSPACE_ID", "LAKE_MEMORY", "LAKE_CATALOG_FILE", "DATA_CATALOG", "RUST_LOG", "LAKE_LOG"] {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it does not start.
    #[expect(clippy::expect_used, reason = "test support")]
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Finished {
        Finished(self.command(args).output().expect("`lake` starts"))
    }

    /// Runs a pipeline that must succeed; gives its report.
    ///
    /// # Panics
    /// When it fails, with what it said.
    pub fn run_pipeline(&self, pipeline: &str) -> Value {
        self.run(["run", pipeline, "--output", "json"]).succeeded().json()
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
