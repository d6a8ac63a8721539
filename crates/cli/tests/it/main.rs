//! The binary from outside. Its being here also makes Cargo build it along with the tests of the whole workspace.

#![allow(clippy::unwrap_used, reason = "a helper of tests is not in a test function, for which `clippy.toml` allows it")]

use std::process::{Command, Output};

fn lake(folder: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lake"));
    command.current_dir(folder).args(args).env("NO_COLOR", "1").env("LAKE_URI", folder.join("lakehouse"));
    command.env_remove("WORKSPACE_ID").env_remove("RUST_LOG").output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_init_writes_runs_and_runs_again_without_work() {
    let folder = tempfile::tempdir().unwrap();
    let made = lake(folder.path(), &["init", "shop"]);
    assert!(made.status.success(), "{}", said(&made));
    let shop = folder.path().join("shop");
    let pipeline =
        std::fs::read_dir(&shop).unwrap().map(|e| e.unwrap().path()).find(|p| p.extension().is_some_and(|e| e == "yaml"));
    let pipeline =
        pipeline.or_else(|| std::fs::read_dir(shop.join("pipelines")).ok()?.map(|e| e.unwrap().path()).next()).unwrap();
    let pipeline = pipeline.strip_prefix(&shop).unwrap().to_string_lossy().into_owned();
    let first = lake(&shop, &["run", &pipeline]);
    assert!(first.status.success(), "{}", said(&first));
    let second = lake(&shop, &["run", &pipeline]);
    assert!(second.status.success() && said(&second).contains("nothing to do"), "{}", said(&second));
    let again = lake(folder.path(), &["init", "shop"]);
    assert_eq!(again.status.code(), Some(2), "init wrote over files: {}", said(&again));
}

#[test]
fn wrong_arguments_are_exit_code_2_and_a_missing_pipeline_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(lake(folder.path(), &["run"]).status.code(), Some(2));
    let missing = lake(folder.path(), &["run", "nowhere.yaml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(said(&missing).contains("nowhere.yaml"), "{}", said(&missing));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lake")).arg("schema").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
