//! Where the tests keep what they install: outside the checkout, in `$LAKE_TEST_CACHE` or `$HOME/.cache/lake/test-env`, for all checkouts.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;

/// Why something could not be installed or started, or what a program said before it failed.
#[derive(Debug)]
pub struct SetupError {
    pub(crate) message: String,
    pub(crate) hint: Option<&'static str>,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for SetupError {}

/// The result of setting something up.
pub type Result<T> = std::result::Result<T, SetupError>;

/// The cache's folder; it need not exist.
///
/// # Errors
/// When the environment names none.
pub(crate) fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("LAKE_TEST_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    let home = std::env::var_os("HOME").ok_or_else(|| SetupError {
        message: "neither `LAKE_TEST_CACHE` nor `HOME` is set".into(),
        hint: Some("set `LAKE_TEST_CACHE` to a folder with 2 GB of room"),
    })?;
    Ok(Path::new(&home).join(".cache/lake/test-env"))
}

/// Makes `path` by `make`, unless it is there. Callers in this and other processes wait for the one that makes it; `make` is given a folder
/// aside, which is moved into place when it is whole.
///
/// # Errors
/// Those of `make`; nothing half made is left in place.
pub(crate) fn make_once(path: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| io_error("create", parent, &error))?;
    }
    let lock_path = path.with_extension("lock");
    let lock = File::create(&lock_path).map_err(|error| io_error("create", &lock_path, &error))?;
    lock.lock().map_err(|error| io_error("lock", &lock_path, &error))?;
    // Another process may have made it while this one waited.
    if path.exists() {
        return Ok(());
    }
    let aside = path.with_extension("building");
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(|error| io_error("remove", &aside, &error))?;
    }
    make(&aside)?;
    fs::rename(&aside, path).map_err(|error| io_error("move into place", &aside, &error))
}

/// A program of the path, or of where programs usually are.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = ["/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder: PathBuf| folder.join(name))
        .find(|program: &PathBuf| Path::is_file(program))
}

/// What a program wrote to its standard output.
///
/// # Errors
/// When it could not be started or did not exit with 0; the message then holds all it said.
pub(crate) fn said(what: &str, output: std::io::Result<Output>, hint: Option<&'static str>) -> Result<String> {
    let output = output.map_err(|error| SetupError { message: format!("`{what}` cannot be started: {error}"), hint })?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(SetupError { message: format!("`{what}` failed ({}):\n{stdout}{stderr}", output.status), hint })
}

pub(crate) fn io_error(verb: &str, path: &Path, error: &std::io::Error) -> SetupError {
    SetupError { message: format!("cannot {verb} `{}`: {error}", path.display()), hint: None }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_hint_comes_with_an_error() {
        let error = said("mvn", Command::new("no-such-program").output(), Some("install it")).unwrap_err();
        assert!(error.to_string().ends_with("hint: install it"), "{error}");
    }
}
