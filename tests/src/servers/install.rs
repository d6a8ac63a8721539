//! Installing servers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache::{self, Result, SetupError, io_error, said};

/// The program that `go install` makes of `package@version`, made now if the cache has none yet.
///
/// # Errors
/// When it cannot be had.
pub(super) fn go_program(name: &str, package: &str, version: &str) -> Result<PathBuf> {
    let folder = cache::folder()?.join(format!("{name}-{}", version.replace('.', "_")));
    cache::make_once(&folder, |aside| {
        fs::create_dir_all(aside).map_err(|error| io_error("create", aside, &error))?;
        let hint =
            "the S3 servers of the tests are built from source: install Go 1.25 or newer and check the network (`GOPROXY`)";
        let mut go = Command::new("go");
        // In a folder without a module, so that none has a say.
        go.args(["install", "-ldflags", "-s -w", &format!("{package}@{version}")]).current_dir(aside);
        go.env("GOBIN", aside).env("GOFLAGS", "-trimpath");
        said("go install", go.output(), Some(hint)).map(drop)
    })?;
    Ok(folder.join(name))
}

/// A program of the path; when there is none, Debian's package of that name is installed, which takes an administrator.
///
/// # Errors
/// When it cannot be had.
pub(super) fn packaged_program(name: &'static str, hint: &'static str) -> Result<PathBuf> {
    if let Some(found) = on_path(name) {
        return Ok(found);
    }
    let folder = cache::folder()?;
    fs::create_dir_all(&folder).map_err(|error| io_error("create", &folder, &error))?;
    let lock_path = folder.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(|error| io_error("create", &lock_path, &error))?;
    lock.lock().map_err(|error| io_error("lock", &lock_path, &error))?;
    if on_path(name).is_none() {
        let apt = |args: &[&str]| {
            Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).output()
        };
        let install = ["install", "-y", "--no-install-recommends", name];
        if said("apt-get install", apt(&install), Some(hint)).is_err() {
            // The lists of packages may be old, or not there yet.
            said("apt-get update", apt(&["update"]), Some(hint))?;
            said("apt-get install", apt(&install), Some(hint))?;
        }
    }
    on_path(name).ok_or_else(|| SetupError { message: format!("there is no `{name}` on the path"), hint: Some(hint) })
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let usual = ["/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder: PathBuf| folder.join(name))
        .find(|program: &PathBuf| Path::is_file(program))
}
