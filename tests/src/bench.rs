//! Lakes of tests' own, on disk or on S3, and commands on them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::binary::{Finished, checkout, lake_binary};
use crate::python::{Reader, python};
use crate::s3::{Bucket, Endpoint};
use crate::servers::minio;

/// Settings of whoever runs the tests that must not reach the commands.
const SETTINGS: [&str; 28] = [
    "WORKSPACE_ID",
    "LAKE_MEMORY",
    "LAKE_CATALOG_FILE",
    "LAKE_LOCK",
    "LAKE_RETRY_SECONDS",
    "DATA_CATALOG",
    "RUST_LOG",
    "LAKE_LOG",
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ALLOW_HTTP",
    "AWS_PROFILE",
    "AWS_CA_BUNDLE",
    "QDRANT_URL",
    "QDRANT_API_KEY",
    "NEO4J_URI",
    "NEO4J_USER",
    "NEO4J_PASSWORD",
    "NEO4J_DATABASE",
    "LLM_API_URL",
    "LLM_API_KEY",
    "LLM_EMBEDDING_MODEL",
    "LLM_EMBEDDING_DIMENSIONS",
    "LLM_TOKENIZER",
    "LLM_EMBEDDING_MAX_TOKENS",
];

/// The folder of a bucket that a lake is in.
const PREFIX: &str = "team/lake";

/// What a lake is kept on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A folder of this machine.
    Disk,
    /// A bucket of the MinIO that the tests share.
    S3,
}

/// Where a lake is, and what a reader needs to get there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// A path or a URL.
    pub uri: String,
    /// Options of a storage client, as environment variables.
    pub options: Vec<(String, String)>,
}

impl<P: AsRef<Path>> From<P> for Location {
    fn from(folder: P) -> Self {
        Self { uri: folder.as_ref().to_string_lossy().into_owned(), options: vec![] }
    }
}

/// A lake that vanishes with its owner, and a folder beside it; commands run in the checkout, so that shipped pipelines find their data.
#[derive(Debug)]
pub struct Bench {
    folder: tempfile::TempDir,
    bucket: Option<Bucket>,
    env: Vec<(String, String)>,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// An empty lake on disk.
    ///
    /// # Panics
    /// When no folder can be made.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), bucket: None, env: vec![] }
    }

    /// An empty lake at a place.
    ///
    /// # Panics
    /// When it cannot be made; on S3 also when there is no server to be had, with a hint.
    pub fn on(place: Place) -> Self {
        match place {
            Place::Disk => Self::new(),
            Place::S3 => Self::at(&minio().endpoint()),
        }
    }

    /// An empty lake in a fresh bucket of a server.
    ///
    /// # Panics
    /// When there is none to be had.
    pub fn at(server: &Endpoint) -> Self {
        static BUCKETS: AtomicUsize = AtomicUsize::new(0);
        let bucket = server.bucket(&format!("bucket-{}", BUCKETS.fetch_add(1, Ordering::Relaxed)));
        Self { bucket: Some(bucket), ..Self::new() }
    }

    /// With commands that reach the lake's server through another endpoint, such as a proxy's. What the bench itself does and what
    /// readers read goes there directly.
    #[must_use]
    pub fn through(mut self, endpoint: &Endpoint) -> Self {
        self.env.extend(endpoint.env());
        self
    }

    /// With an environment variable for every command.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.env.push((name.to_string(), value.as_ref().to_string_lossy().into_owned()));
        self
    }

    /// Where the lake is.
    pub fn location(&self) -> Location {
        match &self.bucket {
            None => Location::from(self.folder.path().join("lake")),
            Some(bucket) => Location { uri: format!("s3://{}/{PREFIX}", bucket.name()), options: bucket.endpoint().env() },
        }
    }

    /// The folder of a lake on disk.
    ///
    /// # Panics
    /// When the lake is on S3.
    pub fn lake(&self) -> PathBuf {
        assert!(self.bucket.is_none(), "a lake on S3 has no folder");
        self.path("lake")
    }

    /// The bucket of a lake on S3.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// A folder or file of this machine beside the lake.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files below the lake and their sizes, by their paths relative to it.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub fn files(&self) -> BTreeMap<String, u64> {
        if let Some(bucket) = &self.bucket {
            let prefix = format!("{PREFIX}/");
            return bucket.list(&prefix).into_iter().map(|(key, size)| (key[prefix.len()..].to_string(), size)).collect();
        }
        let (lake, mut found) = (self.path("lake"), BTreeMap::new());
        let mut folders = vec![lake.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let entry = entry.expect("an entry of a folder");
                let (path, metadata) = (entry.path(), entry.metadata().expect("a file's metadata"));
                if metadata.is_dir() {
                    folders.push(path);
                } else if let Ok(relative) = path.strip_prefix(&lake) {
                    found.insert(relative.to_string_lossy().into_owned(), metadata.len());
                }
            }
        }
        found
    }

    /// The files of tables, their logs included: all but reports and the like.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub fn table_files(&self) -> BTreeMap<String, u64> {
        let mut files = self.files();
        files.retain(|path, _| !path.starts_with("_lake/"));
        files
    }

    /// Writes a file below the lake.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, path: &str, content: &[u8]) {
        if let Some(bucket) = &self.bucket {
            return bucket.put(&format!("{PREFIX}/{path}"), content);
        }
        let file = self.path("lake").join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(&file)).expect("a folder of the lake");
        std::fs::write(file, content).expect("a file of the lake");
    }

    /// The content of a file below the lake; `None` when there is none.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        match &self.bucket {
            Some(bucket) => bucket.get(&format!("{PREFIX}/{path}")),
            None => std::fs::read(self.path("lake").join(path)).ok(),
        }
    }

    /// Takes a file below the lake away.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, path: &str) {
        match &self.bucket {
            Some(bucket) => bucket.delete(&format!("{PREFIX}/{path}")),
            None => std::fs::remove_file(self.path("lake").join(path)).expect("a file of the lake"),
        }
    }

    /// A command of `lake` that has not started. Nothing of this process's own settings reaches it.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(lake_binary());
        for name in SETTINGS {
            command.env_remove(name);
        }
        let Location { uri, options } = self.location();
        command.current_dir(checkout()).env("LAKE_URI", uri).envs(options).env("NO_COLOR", "1").args(args);
        command.envs(self.env.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it does not start.
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

    /// Checks that a reader finds in the lake what the oracle makes of the files in `data`; with a `run.json`, the counts of that run too.
    ///
    /// # Panics
    /// When anything differs: the message says what, by table and workspace.
    pub fn assert_equals_oracle(&self, pipeline: &str, data: &Path, readers: &[Reader], report: Option<&Path>) {
        let (python, expected) = (python(), self.path("expected.json"));
        python.expect(pipeline, data, &expected).unwrap_or_else(|error| panic!("{error}"));
        for reader in readers {
            let compared = python.compare(self.location(), *reader, &expected, report);
            compared.unwrap_or_else(|error| panic!("{reader:?}: {error}"));
        }
    }
}
