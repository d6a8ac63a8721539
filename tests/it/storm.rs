//! Runs under random faults of the network and the store, and `kill -9`: whatever happens, the tables end as the oracle says.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hyper::Method;
use lake_tests::bench::Bench;
use lake_tests::binary::{Finished, assert_adds_up};
use lake_tests::proxy::{Fault, Proxy, Rule};
use lake_tests::python::{Reader, python};
use lake_tests::servers::minio;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const PIPELINE: &str = "tests/pipelines/growing.yaml";

/// Lakes that are worked on at the same time, each by runs one after the other: most of a stormy run is waiting.
const LAKES: u64 = 3;
const RUNS: usize = 100;

/// The weather of one run: calm, rough in one way, or a little rough in all.
fn weather(random: &mut StdRng) -> Vec<Rule> {
    let writes = [Method::PUT, Method::POST];
    let delay = Fault::Delay(Duration::from_millis(1), Duration::from_millis(30));
    let all = |scale: f64| {
        [
            Rule::new(Fault::CutBefore).chance(0.1 * scale),
            Rule::new(Fault::CutAfter).chance(0.1 * scale),
            Rule::new(Fault::CutAfter).methods(writes.clone()).chance(0.3 * scale),
            Rule::new(Fault::Truncate).chance(0.1 * scale),
            Rule::new(delay).chance(0.3 * scale),
            Rule::new(Fault::Refuse(500)).chance(0.1 * scale),
            Rule::new(Fault::Refuse(503)).chance(0.1 * scale),
            Rule::new(Fault::Refuse(429)).chance(0.1 * scale),
            Rule::new(Fault::Duplicate).chance(0.2 * scale),
            Rule::new(Fault::Duplicate).methods(writes.clone()).chance(0.5 * scale),
        ]
    };
    match random.random_range(0..10) {
        0 => vec![],
        1..4 => all(0.2).to_vec(),
        _ => {
            let one = random.random_range(0..10);
            all(1.0).into_iter().skip(one).take(1).collect()
        }
    }
}

#[test]
fn three_hundred_runs_in_a_storm_leave_the_tables_right() {
    let python = python();
    let all = tempfile::tempdir().unwrap();
    // A file for every third run: the others go on where the one before was stopped.
    for step in 0..RUNS.div_ceil(3) {
        python.run("grow_feed.py", ["--out", all.path().to_str().unwrap(), "--step", &step.to_string()]).unwrap();
    }
    let mut files: Vec<PathBuf> = fs::read_dir(all.path()).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    std::thread::scope(|scope| {
        for seed in 0..LAKES {
            let files = &files;
            scope.spawn(move || storm(seed, files));
        }
    });
}

/// Runs the pipeline over a growing feed in a lake of its own, in weather of its own, and compares with the oracle in the end.
fn storm(seed: u64, files: &[PathBuf]) {
    let proxy = Proxy::before(&minio().endpoint(), seed);
    let bench = Bench::at(&minio().endpoint()).through(&proxy.endpoint()).with_env("LAKE_RETRY_SECONDS", "1");
    let feed = bench.path("feed");
    let bench = bench.with_env("FEED_DIR", &feed);
    fs::create_dir_all(&feed).unwrap();
    let mut random = StdRng::seed_from_u64(seed);
    let (mut killed, mut failed, mut usual) = (0, 0, Duration::from_millis(800));
    for run in 0..RUNS {
        if run % 3 == 0 {
            let file = &files[run / 3];
            fs::copy(file, feed.join("half")).unwrap();
            fs::rename(feed.join("half"), feed.join(file.file_name().unwrap())).unwrap();
        }
        proxy.set_faults(weather(&mut random));
        let deadline = random.random_bool(0.4).then(|| usual.mul_f64(random.random_range(0.05..1.2)));
        match run_until(&bench, deadline) {
            Ended::Killed => killed += 1,
            Ended::Succeeded(taken) => usual = taken.clamp(Duration::from_millis(200), Duration::from_secs(3)),
            Ended::Failed(said) => {
                assert!(!said.contains("panicked") && !said.contains("this is a bug"), "storm {seed}, run {run}: {said}");
                assert!(said.contains("error:"), "storm {seed}, run {run} failed without a reason: {said}");
                failed += 1;
            }
        }
    }
    let (hit, requests) = (proxy.count(|seen| seen.fault.is_some()), proxy.seen().len());
    eprintln!(
        "storm {seed}: {RUNS} runs, {killed} killed, {failed} failed with an error; {hit} of {requests} requests hit by a fault"
    );
    assert!(killed >= RUNS / 10 && hit >= RUNS, "storm {seed} was none: {killed} killed, {hit} faults");
    proxy.set_faults([]);
    assert_adds_up(&bench.run_pipeline(PIPELINE));
    bench.assert_equals_oracle("growing", &feed, &[Reader::Polars], None);
    let again = bench.run_pipeline(PIPELINE);
    assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{again}");
}

enum Ended {
    Succeeded(Duration),
    Failed(String),
    Killed,
}

/// A run that is killed when it takes longer than `deadline`.
fn run_until(bench: &Bench, deadline: Option<Duration>) -> Ended {
    let started = Instant::now();
    let mut child = bench.command(["run", PIPELINE]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let done = Finished(child.wait_with_output().unwrap());
            assert!(matches!(status.code(), Some(0 | 1)), "{status}: {}", done.said());
            return if status.success() { Ended::Succeeded(started.elapsed()) } else { Ended::Failed(done.said()) };
        }
        if deadline.is_some_and(|d| started.elapsed() >= d) {
            child.kill().unwrap();
            child.wait().unwrap();
            return Ended::Killed;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
