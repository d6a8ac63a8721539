//! The Python side of the end-to-end tests: one pinned environment, made at first use, with the scripts of `tests/python`.
//!
//! It stands outside the checkout, in `$LAKE_TEST_CACHE` or `$HOME/.cache/lake/test-env`, in a folder named after everything it is made
//! from. A change of a pinned version makes a new one; several checkouts share one.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::bench::Location;
use crate::cache::{self, Result, io_error, said};

const REQUIREMENTS: &str = include_str!("../python/requirements.txt");
const DELTA_JARS: &str = include_str!("../python/delta-jars.xml");

/// What the environment is made by, besides the two files: a change of the recipe below must change this.
const RECIPE: &str = "1";

/// As `RECIPE`, for environments of servers.
const SERVER_RECIPE: &str = "1";

/// A reader of Delta tables that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// `polars.read_delta`.
    Polars,
    /// DuckDB's Parquet reader over the files that the log names.
    DuckDb,
    /// The `deltalake` package with PyArrow.
    DeltaLake,
    /// Spark with Delta's own library; takes half a minute to start.
    Spark,
}

impl Reader {
    /// All of them.
    pub const ALL: [Reader; 4] = [Reader::Polars, Reader::DuckDb, Reader::DeltaLake, Reader::Spark];

    /// As `read_tables.py` calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Reader::Polars => "polars",
            Reader::DuckDb => "duckdb",
            Reader::DeltaLake => "deltalake",
            Reader::Spark => "spark",
        }
    }
}

/// The environment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PythonEnv {
    root: PathBuf,
}

/// The environment, made now if this machine has none yet (about two minutes; other tests wait for it).
///
/// # Panics
/// When it cannot be had, with a hint: a test that needs it must not pass without it.
pub fn python() -> PythonEnv {
    PythonEnv::open().unwrap_or_else(|error| panic!("the Python environment of the tests cannot be had: {error}"))
}

impl PythonEnv {
    /// Like [`python`], with the error as a value.
    ///
    /// # Errors
    /// When Python 3.11, Maven or a package is not to be had; nothing half made is left in the environment's place.
    pub fn open() -> Result<Self> {
        Self::open_in(&cache::folder()?)
    }

    fn open_in(cache: &Path) -> Result<Self> {
        let root = cache.join(fingerprint(&[RECIPE, &interpreter()?, REQUIREMENTS, DELTA_JARS]));
        cache::make_once(&root, make)?;
        Ok(Self { root })
    }

    /// An environment of its own with only `requirements`, for a server of the tests.
    ///
    /// # Errors
    /// As [`PythonEnv::open`]; it takes no Maven.
    pub(crate) fn of_server(name: &str, requirements: &str) -> Result<Self> {
        let root = cache::folder()?.join(format!("{name}-{}", fingerprint(&[SERVER_RECIPE, &interpreter()?, requirements])));
        cache::make_once(&root, |environment| {
            make_empty(environment)?;
            install_packages(environment, requirements)
        })?;
        Ok(Self { root })
    }

    /// A command that runs `script` (a file of `tests/python`) from the root of the checkout. The user's own Python settings do not reach it.
    pub fn command(&self, script: &str) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(interpreter_of(&self.root));
        command
            .arg(folder.join("python").join(script))
            .current_dir(folder.parent().unwrap_or(folder))
            .env("PYTHONUTF8", "1")
            .env("PYTHONNOUSERSITE", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME");
        command
    }

    /// Runs a script of `tests/python` and returns what it printed.
    ///
    /// # Errors
    /// When it cannot be started or does not exit with 0; the message then holds all it said.
    pub fn run<A: AsRef<OsStr>>(&self, script: &str, args: impl IntoIterator<Item = A>) -> Result<String> {
        said(script, self.command(script).args(args).output(), None)
    }

    /// Writes to `expected` (a `.json` path) what a pipeline must make of the files in `data`; see `oracle.py`.
    ///
    /// # Errors
    /// As [`PythonEnv::run`].
    pub fn expect(&self, pipeline: &str, data: &Path, expected: &Path) -> Result<String> {
        let arguments = [
            "--pipeline".as_ref(),
            pipeline.as_ref(),
            "--data".as_ref(),
            data.as_os_str(),
            "--out".as_ref(),
            expected.as_os_str(),
        ];
        self.run("oracle.py", arguments)
    }

    /// Reads every table of `lake` with `reader` and compares it with `expected`; with `report`, a `run.json`, the counts of that run too.
    /// What the reader found stays beside `expected`.
    ///
    /// # Errors
    /// When anything differs: the message says what, by table and workspace. Also as [`PythonEnv::run`].
    pub fn compare(&self, lake: impl Into<Location>, reader: Reader, expected: &Path, report: Option<&Path>) -> Result<String> {
        let Location { uri, options } = lake.into();
        let actual = expected.with_extension(format!("{}.json", reader.as_str()));
        let mut read = self.command("read_tables.py");
        read.args(["--rows", "--lake", &uri, "--reader", reader.as_str(), "--out"]).arg(&actual).envs(options);
        said("read_tables.py", read.output(), None)?;
        let mut arguments = vec![OsStr::new("--expected"), expected.as_os_str(), OsStr::new("--actual"), actual.as_os_str()];
        if let Some(report) = report {
            arguments.extend([OsStr::new("--report"), report.as_os_str()]);
        }
        self.run("compare.py", arguments)
    }
}

fn interpreter_of(environment: &Path) -> PathBuf {
    environment.join("bin").join("python")
}

/// The Python that environments are made from: `LAKE_TEST_PYTHON` or `python3`.
fn base_python() -> Command {
    Command::new(std::env::var_os("LAKE_TEST_PYTHON").unwrap_or_else(|| "python3".into()))
}

/// The version and place of the base Python, which the environment keeps pointing at.
fn interpreter() -> Result<String> {
    let check = "import sys; assert sys.version_info >= (3, 11), sys.version; print(sys.version, sys.base_prefix)";
    let hint = "the end-to-end tests need Python 3.11 or newer as `python3`, or its path in `LAKE_TEST_PYTHON`";
    said("python3", base_python().args(["-c", check]).output(), Some(hint))
}

fn fingerprint(parts: &[&str]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn make_empty(environment: &Path) -> Result<()> {
    let made = base_python().args(["-m", "venv"]).arg(environment).output();
    said("python3 -m venv", made, Some("Debian has it in the package `python3-venv`")).map(drop)
}

fn make(environment: &Path) -> Result<()> {
    make_empty(environment)?;
    // The jars come first: a machine without Maven learns so at once, not after the packages.
    fetch_delta_jars(environment)?;
    install_packages(environment, REQUIREMENTS)?;
    let imports = "import polars, duckdb, deltalake, pyarrow, pyspark, delta";
    said("python", Command::new(interpreter_of(environment)).args(["-c", imports]).output(), None).map(drop)
}

fn install_packages(environment: &Path, requirements: &str) -> Result<()> {
    let list = environment.join("requirements.txt");
    fs::write(&list, requirements).map_err(|error| io_error("write", &list, &error))?;
    let hint = "the packages of tests/python/*requirements.txt come from PyPI: check the network, or pip's own configuration for a mirror";
    let mut pip = Command::new(interpreter_of(environment));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]).arg(&list);
    said("pip install", pip.output(), Some(hint)).map(drop)
}

fn fetch_delta_jars(environment: &Path) -> Result<()> {
    let project = environment.join("delta-jars");
    let pom = project.join("pom.xml");
    fs::create_dir_all(&project).map_err(|error| io_error("create", &project, &error))?;
    fs::write(&pom, DELTA_JARS).map_err(|error| io_error("write", &pom, &error))?;
    let hint =
        "Spark's Delta jars come from Maven Central: install Maven (Debian: `apt-get install maven`) and check the network";
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"])
        .args(["-DincludeScope=runtime", "-DincludeGroupIds=io.delta,io.unitycatalog"])
        .arg(format!("-DoutputDirectory={}", environment.join("jars").display()))
        .current_dir(&project);
    said("mvn", maven.output(), Some(hint)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quickstart_data() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/quickstart")
    }

    /// A lake of sample tables of `pipeline` in `folder`, and what the oracle expects of it.
    fn sample(pipeline: &str, data: &Path, folder: &Path, spoil: &str) -> (PathBuf, PathBuf) {
        let (lake, expected) = (folder.join("lake"), folder.join("expected.json"));
        let environment = python();
        environment.expect(pipeline, data, &expected).unwrap();
        let arguments: [&OsStr; 8] = [
            "--pipeline".as_ref(),
            pipeline.as_ref(),
            "--data".as_ref(),
            data.as_ref(),
            "--lake".as_ref(),
            lake.as_ref(),
            "--spoil".as_ref(),
            spoil.as_ref(),
        ];
        environment.run("sample_tables.py", arguments).unwrap();
        (lake, expected)
    }

    fn growing_data(folder: &Path) -> PathBuf {
        let data = folder.join("feed");
        for step in ["2", "0", "1"] {
            python().run("grow_feed.py", ["--out".as_ref(), data.as_os_str(), "--step".as_ref(), step.as_ref()]).unwrap();
        }
        data
    }

    #[test]
    fn callers_at_the_same_time_get_one_environment() {
        let roots: Vec<_> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..4).map(|_| scope.spawn(|| python().root)).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert!(roots.iter().all(|root| *root == roots[0] && root.is_dir()), "{roots:?}");
        assert!(!roots[0].with_extension("building").exists());
    }

    #[test]
    fn a_failing_script_is_an_error_with_its_words() {
        let error = python().run("compare.py", ["--expected", "absent.json", "--actual", "absent.json"]).unwrap_err();
        assert!(error.to_string().contains("absent.json"), "{error}");
    }

    #[test]
    fn the_oracle_agrees_with_cases_worked_out_by_hand() {
        python().run("test_oracle.py", [""; 0]).unwrap();
    }

    #[test]
    fn quickstart_data_is_what_its_generator_makes() {
        python().run("generate_quickstart.py", ["--check"]).unwrap();
    }

    #[test]
    fn every_reader_finds_what_the_oracle_expects() {
        let folder = tempfile::tempdir().unwrap();
        let (lake, expected) = sample("quickstart", &quickstart_data(), folder.path(), "");
        for reader in Reader::ALL {
            python().compare(&lake, reader, &expected, None).unwrap_or_else(|error| panic!("{reader:?}: {error}"));
        }
    }

    #[test]
    fn every_reader_copes_with_a_workspace_whose_name_is_unfit_for_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let (lake, expected) = sample("growing", &growing_data(folder.path()), folder.path(), "");
        assert!(fs::read_to_string(&expected).unwrap().contains("50%/år"));
        for reader in Reader::ALL {
            python().compare(&lake, reader, &expected, None).unwrap_or_else(|error| panic!("{reader:?}: {error}"));
        }
    }

    #[test]
    fn one_changed_value_is_named_by_table_and_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let (lake, expected) = sample("quickstart", &quickstart_data(), folder.path(), "silver.brands");
        for reader in [Reader::Polars, Reader::DuckDb, Reader::DeltaLake] {
            let said = python().compare(&lake, reader, &expected, None).unwrap_err().to_string();
            assert!(said.contains("silver.brands of ") && said.contains("content is not"), "{said}");
            assert!(!said.contains("silver.posts"), "{said}");
        }
    }

    #[test]
    fn a_missing_table_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (lake, expected) = sample("growing", &growing_data(folder.path()), folder.path(), "");
        fs::remove_dir_all(lake.join("gold/language_mix")).unwrap();
        let said = python().compare(&lake, Reader::DeltaLake, &expected, None).unwrap_err().to_string();
        assert!(said.contains("gold.language_mix: there is no such table"), "{said}");
    }

    #[test]
    fn counts_of_a_run_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        let (lake, expected) = sample("growing", &growing_data(folder.path()), folder.path(), "");
        let report = folder.path().join("run.json");
        fs::write(&report, r#"{"tables": [{"table": "silver.posts", "rows_read": 1}]}"#).unwrap();
        let said = python().compare(&lake, Reader::DeltaLake, &expected, Some(&report)).unwrap_err().to_string();
        assert!(said.contains("silver.posts: rows_read is 1") && said.contains("bronze.posts: not in the report"), "{said}");
    }
}
