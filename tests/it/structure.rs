//! The house stays in order: dependencies point one way, and one version of each engine crate is in the tree.

use std::collections::BTreeMap;
use std::process::Command;

use lake_tests::binary::checkout;
use serde_json::Value;

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(cargo).current_dir(checkout()).args(["metadata", "--format-version=1", "--locked"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn dependencies_point_from_cli_to_jobs_to_lake_to_catalog() {
    let metadata = metadata();
    let order = ["lake-catalog", "lake", "lake-jobs", "lake-cli"];
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(rank) = order.iter().position(|o| *o == name) else { continue };
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            if let Some(other) = order.iter().position(|o| *o == on) {
                assert!(other < rank, "`{name}` depends on `{on}`");
            }
            assert!(name != "lake-catalog" || !on.starts_with("datafusion"), "the catalog knows `{on}`");
        }
    }
}

/// It runs the binary and embeds the library as a service does, so that what it measures is what users get.
#[test]
fn the_contender_of_the_benchmark_knows_the_library_and_nobody_knows_it() {
    let metadata = metadata();
    let of_ours = |name: &str| name == "lake" || name.starts_with("lake-");
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let dependencies = package["dependencies"].as_array().unwrap();
        let on: Vec<&str> = dependencies.iter().map(|d| d["name"].as_str().unwrap()).filter(|n| of_ours(n)).collect();
        assert!(!on.contains(&"lake-bench"), "`{name}` depends on the benchmark");
        assert!(name != "lake-bench" || on == ["lake"], "the contender depends on {on:?}");
    }
}

#[test]
fn one_version_of_each_engine_crate_is_in_the_tree() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata()["packages"].as_array().unwrap() {
        let text = |key: &str| package[key].as_str().unwrap().to_string();
        versions.entry(text("name")).or_default().push(text("version"));
    }
    for name in ["arrow", "parquet", "datafusion", "object_store", "deltalake-core", "tokio"] {
        assert_eq!(versions[name].len(), 1, "{name}: {:?}", versions[name]);
    }
}
