//! Installing servers.

use std::fs::{self, File};
use std::path::PathBuf;
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
    if let Some(found) = cache::on_path(name) {
        return Ok(found);
    }
    let folder = cache::folder()?;
    fs::create_dir_all(&folder).map_err(|error| io_error("create", &folder, &error))?;
    let lock_path = folder.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(|error| io_error("create", &lock_path, &error))?;
    lock.lock().map_err(|error| io_error("lock", &lock_path, &error))?;
    if cache::on_path(name).is_none() {
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
    cache::on_path(name).ok_or_else(|| SetupError { message: format!("there is no `{name}` on the path"), hint: Some(hint) })
}

/// A folder with the jars of a library from Maven and of all that it needs, fetched now if the cache has none yet.
///
/// # Errors
/// When they cannot be had.
pub(super) fn maven_jars(name: &str, group: &str, artifact: &str, version: &str) -> Result<PathBuf> {
    let folder = cache::folder()?.join(format!("{name}-{}", version.replace('.', "_")));
    cache::make_once(&folder, |aside| {
        fs::create_dir_all(aside).map_err(|error| io_error("create", aside, &error))?;
        let project = format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
             <groupId>lake</groupId><artifactId>tests</artifactId><version>1</version><packaging>pom</packaging>\
             <dependencies><dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency></dependencies></project>"
        );
        let pom = aside.join("pom.xml");
        fs::write(&pom, project).map_err(|error| io_error("write", &pom, &error))?;
        let hint =
            "the graph server of the tests comes from Maven: install it (Debian: `apt-get install maven`) and check the network";
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"]);
        maven.args(["-DincludeScope=runtime", "-DoutputDirectory=jars"]).current_dir(aside).stdin(Stdio::null());
        said("mvn", maven.output(), Some(hint)).map(drop)
    })?;
    Ok(folder.join("jars"))
}
