//! `kill -9` at any moment: a later run makes every table what it would have been.

use std::process::Stdio;
use std::time::{Duration, Instant};

use lake_tests::bench::{Bench, Place};
use lake_tests::binary::{assert_adds_up, checkout};
use lake_tests::python::{Reader, python};

everywhere!(
    a_hundred_killed_runs_over_a_growing_feed_leave_the_tables_right,
    ctrl_c_leaves_every_table_whole_and_a_report,
    runs_that_start_together_on_an_empty_lake_double_nothing,
);

const PIPELINE: &str = "tests/pipelines/growing.yaml";
const RUNS: usize = 100;

/// A moment between 0 and `most`, the same for the same `step` on every machine.
fn moment(step: usize, most: Duration) -> Duration {
    let mut x = step as u64 ^ 0x9E37_79B9_7F4A_7C15;
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    most.mul_f64(((x >> 11) as f64) / ((1u64 << 53) as f64))
}

fn a_hundred_killed_runs_over_a_growing_feed_leave_the_tables_right(place: Place) {
    let bench = Bench::on(place);
    let (all, feed) = (bench.path("all"), bench.path("feed"));
    let bench = bench.with_env("FEED_DIR", &feed);
    std::fs::create_dir_all(&all).unwrap();
    std::fs::create_dir_all(&feed).unwrap();
    let python = python();
    for step in 0..RUNS {
        python.run("grow_feed.py", ["--out", all.to_str().unwrap(), "--step", &step.to_string()]).unwrap();
    }
    let mut files: Vec<_> = std::fs::read_dir(&all).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), RUNS);
    let (mut killed, mut usual) = (0, Duration::from_millis(500));
    for (step, file) in files.iter().enumerate() {
        std::fs::rename(file, feed.join(file.file_name().unwrap())).unwrap();
        let started = Instant::now();
        let mut run = bench.command(["run", PIPELINE, "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = moment(step, usual.mul_f64(1.1));
        loop {
            if let Some(status) = run.try_wait().unwrap() {
                assert!(status.success(), "run {step} failed by itself: {status}");
                usual = started.elapsed();
                break;
            }
            if started.elapsed() >= deadline {
                run.kill().unwrap();
                run.wait().unwrap();
                killed += 1;
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(killed > RUNS / 2, "only {killed} of {RUNS} runs were killed");
    assert_adds_up(&bench.run_pipeline(PIPELINE));
    bench.assert_equals_oracle("growing", &feed, &[Reader::Polars], None);
    let again = bench.run_pipeline(PIPELINE);
    assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{again}");
}

fn ctrl_c_leaves_every_table_whole_and_a_report(place: Place) {
    let bench = Bench::on(place);
    let mut run = bench
        .command(["run", "pipelines/quickstart.yaml", "--output", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(120));
    let interrupted = std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let status = run.wait().unwrap();
    assert!(matches!(status.code(), Some(0 | 130)), "{status}");
    let report = bench.run_pipeline("pipelines/quickstart.yaml");
    assert_eq!(report["status"], "succeeded");
    assert_adds_up(&report);
    bench.assert_equals_oracle("quickstart", &checkout().join("data/quickstart"), &[Reader::Polars], None);
}

fn runs_that_start_together_on_an_empty_lake_double_nothing(place: Place) {
    let data = checkout().join("data/quickstart");
    for _ in 0..4 {
        let bench = Bench::on(place);
        let start = || {
            bench
                .command(["run", "pipelines/quickstart.yaml", "--quiet"])
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let runs: Vec<_> = (0..3).map(|_| start()).collect();
        for run in runs {
            let done = run.wait_with_output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        bench.assert_equals_oracle("quickstart", &data, &[Reader::Polars], None);
        let tombstones = bench.run(["status", "--output", "json"]).succeeded().json();
        let rows = |name: &str| {
            tombstones
                .as_array()
                .or_else(|| tombstones["tables"].as_array())
                .unwrap()
                .iter()
                .find(|t| t["table"] == name)
                .unwrap()["rows"]
                .clone()
        };
        assert_eq!(rows("silver.posts_tombstones"), 142);
    }
}
