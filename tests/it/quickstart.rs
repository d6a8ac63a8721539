//! The quickstart as a newcomer runs it, against the oracle, through every reader.

use lake_tests::bench::{Bench, Place};
use lake_tests::binary::{assert_adds_up, checkout, table};
use lake_tests::python::{Reader, python};

everywhere!(
    every_reader_finds_what_the_oracle_computes_from_the_raw_files,
    a_second_run_writes_nothing_and_says_so,
    of_a_file_added_only_that_file_is_read,
    each_workspace_alone_and_then_the_feed_come_to_the_same_tables,
    the_example_crawler_replays_its_profiles_once,
    lineage_of_a_gold_column_reaches_the_source_file,
);

const PIPELINE: &str = "pipelines/quickstart.yaml";

fn every_reader_finds_what_the_oracle_computes_from_the_raw_files(place: Place) {
    let bench = Bench::on(place);
    let report = bench.run_pipeline(PIPELINE);
    assert_eq!(report["status"], "succeeded");
    assert_adds_up(&report);
    let report_file = bench.path("run.json");
    std::fs::write(&report_file, report.to_string()).unwrap();
    bench.assert_equals_oracle("quickstart", &checkout().join("data/quickstart"), &Reader::ALL, Some(&report_file));
}

fn a_second_run_writes_nothing_and_says_so(place: Place) {
    let bench = Bench::on(place);
    bench.run_pipeline(PIPELINE);
    let before = bench.table_files();
    let second = bench.run(["run", PIPELINE]).succeeded();
    assert!(second.stderr().contains("nothing to do") || second.stdout().contains("nothing to do"), "{}", second.stderr());
    assert_eq!(bench.table_files(), before);
    let third = bench.run_pipeline(PIPELINE);
    for table in third["tables"].as_array().unwrap() {
        assert_eq!(table["status"], "unchanged", "{table}");
        assert_eq!(table["version_from"], table["version_to"]);
    }
}

fn of_a_file_added_only_that_file_is_read(place: Place) {
    let bench = Bench::on(place);
    let data = bench.path("feed");
    let bench = bench.with_env("FEED_DIR", &data);
    std::fs::create_dir_all(&data).unwrap();
    let python = python();
    let grow = |step: usize| python.run("grow_feed.py", ["--out", data.to_str().unwrap(), "--step", &step.to_string()]).unwrap();
    grow(0);
    let first = bench.run_pipeline("tests/pipelines/growing.yaml");
    let rows = table(&first, "bronze.posts")["rows_read"].as_u64().unwrap();
    grow(1);
    let second = bench.run_pipeline("tests/pipelines/growing.yaml");
    let bronze = table(&second, "bronze.posts");
    assert_eq!(bronze["files_read"], 1, "{bronze}");
    assert!(bronze["rows_read"].as_u64().unwrap() < rows * 2);
    assert_adds_up(&second);
    bench.assert_equals_oracle("growing", &data, &[Reader::Polars], None);
}

fn each_workspace_alone_and_then_the_feed_come_to_the_same_tables(place: Place) {
    let bench = Bench::on(place);
    for workspace in ["acme", "globex"] {
        let report = bench.run(["run", PIPELINE, "--workspace", workspace, "--output", "json"]).succeeded().json();
        assert_eq!(report["workspaces"], serde_json::json!([workspace]));
        assert_adds_up(&report);
    }
    let feed = bench.run_pipeline(PIPELINE);
    assert_adds_up(&feed);
    bench.assert_equals_oracle("quickstart", &checkout().join("data/quickstart"), &[Reader::Polars], None);
}

fn the_example_crawler_replays_its_profiles_once(place: Place) {
    let bench = Bench::on(place);
    let first = bench.run_pipeline("pipelines/profiles.yaml");
    assert_eq!(first["status"], "succeeded");
    assert!(table(&first, "silver.profiles")["rows_written"].as_u64().unwrap() > 10, "{first}");
    let second = bench.run_pipeline("pipelines/profiles.yaml");
    assert!(second["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{second}");
}

fn lineage_of_a_gold_column_reaches_the_source_file(place: Place) {
    let bench = Bench::on(place);
    bench.run_pipeline(PIPELINE);
    let tree = bench.run(["lineage", "gold.daily_mentions.posts"]).succeeded().stdout();
    assert!(tree.contains("silver.posts") && tree.contains("bronze.posts"), "{tree}");
    let likes = bench.run(["lineage", "silver.posts.author"]).succeeded().stdout();
    assert!(likes.contains("bronze.posts.user.name"), "{likes}");
}
