//! What a store can do to a run: die and come back, run out of room, take the keys away, have another time, lie about its listings. Each ends in
//! success or in an error that says what to do, and a rerun heals.

use std::process::{Command, Stdio};
use std::time::Duration;

use lake_tests::bench::Bench;
use lake_tests::binary::{Finished, assert_adds_up, checkout};
use lake_tests::proxy::{Lie, Proxy};
use lake_tests::python::Reader;
use lake_tests::servers::{Certificates, Minio, MinioOptions, VersityGw, minio};
use serde_json::Value;

const PIPELINE: &str = "pipelines/quickstart.yaml";

fn assert_is_the_quickstart(bench: &Bench) {
    bench.assert_equals_oracle("quickstart", &checkout().join("data/quickstart"), &[Reader::Polars], None);
}

/// The check of a doctor's examination.
fn check(bench: &Bench, name: &str) -> Value {
    let examined = bench.run(["doctor", "--output", "json"]).json();
    examined["checks"].as_array().unwrap().iter().find(|c| c["check"] == name).unwrap().clone()
}

/// A run that must fail with these words, and advice.
fn fails_saying(done: &Finished, words: &str) {
    assert_eq!(done.code(), 1, "{}", done.said());
    assert!(done.said().contains(words) && done.said().contains("help:"), "{}", done.said());
}

#[test]
fn a_server_that_dies_and_comes_back_in_the_middle_of_a_run() {
    let server = Minio::start();
    for moment in [50, 200, 400, 700, 1_000] {
        let bench = Bench::at(&server.endpoint());
        let run = bench.command(["run", PIPELINE]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        server.kill();
        std::thread::sleep(Duration::from_millis(800));
        server.restart();
        let done = Finished(run.wait_with_output().unwrap());
        assert_eq!(done.code(), 0, "killed after {moment} ms: {}", done.said());
        assert_is_the_quickstart(&bench);
    }
}

#[test]
fn a_server_that_stays_away_is_told_and_a_rerun_heals() {
    let server = Minio::start();
    let bench = Bench::at(&server.endpoint()).with_env("LAKE_RETRY_SECONDS", "2");
    server.kill();
    let refused = bench.run(["run", PIPELINE]);
    assert_eq!(refused.code(), 1, "{}", refused.said());
    assert!(refused.said().contains("cannot be reached") && refused.said().contains("AWS_ENDPOINT_URL"), "{}", refused.said());
    assert_eq!(check(&bench, "store")["status"], "failed");
    server.restart();
    assert_adds_up(&bench.run_pipeline(PIPELINE));
    assert_is_the_quickstart(&bench);
}

/// A small file system of its own, unmounted when it is dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Self { folder };
        disk.mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        disk
    }

    fn grow(&self, size: &str) {
        self.mount(&["-o", &format!("remount,size={size}")]);
    }

    fn mount(&self, options: &[&str]) {
        let done = Command::new("mount").args(options).arg(self.folder.path()).output().unwrap();
        assert!(done.status.success(), "a small file system cannot be mounted (are the tests run as root?): {done:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.folder.path()).output());
    }
}

#[test]
fn a_disk_of_the_store_that_is_full() {
    let disk = SmallDisk::new("16m");
    let server = Minio::start_with(MinioOptions { data: Some(disk.folder.path().join("data")), ..MinioOptions::default() });
    let bench = Bench::at(&server.endpoint()).with_env("LAKE_RETRY_SECONDS", "2");
    // Room for the start of a run, not for all of it.
    let filler = disk.folder.path().join("filler");
    fill(&filler, 700 << 10, disk.folder.path());
    let failed = bench.run(["run", PIPELINE]);
    fails_saying(&failed, "disk is full");
    disk.grow("64m");
    assert_adds_up(&bench.run_pipeline(PIPELINE));
    assert_is_the_quickstart(&bench);
}

/// Fills the file system of `folder` but for `left` bytes.
fn fill(filler: &std::path::Path, left: u64, folder: &std::path::Path) {
    let free = Command::new("stat").args(["-f", "-c", "%a %S"]).arg(folder).output().unwrap();
    let text = String::from_utf8(free.stdout).unwrap();
    let (blocks, size) = text.trim().split_once(' ').unwrap();
    let free = blocks.parse::<u64>().unwrap() * size.parse::<u64>().unwrap();
    std::fs::write(filler, vec![0; usize::try_from(free.saturating_sub(left)).unwrap()]).unwrap();
}

#[test]
fn a_disk_of_this_machine_that_is_full() {
    let disk = SmallDisk::new("600k");
    let lake = disk.folder.path().join("lake");
    let bench = Bench::new().with_env("LAKE_URI", &lake);
    let failed = bench.run(["run", PIPELINE]);
    assert_eq!(failed.code(), 1, "{}", failed.said());
    assert!(failed.said().contains("full") && failed.said().contains("help:"), "{}", failed.said());
    assert!(!failed.said().contains("this is a bug"), "{}", failed.said());
    disk.grow("64m");
    let report = bench.run_pipeline(PIPELINE);
    assert_eq!(report["status"], "succeeded");
    let again = bench.run_pipeline(PIPELINE);
    assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{again}");
    let count = "SELECT count(*) AS n FROM silver.posts";
    let rows = |w: &str| bench.run(["query", count, "-w", w, "--output", "json"]).succeeded().json()[0]["n"].as_u64().unwrap();
    assert_eq!(rows("acme") + rows("globex"), 4_160);
}

#[test]
fn keys_that_are_taken_away() {
    let server = Minio::start();
    let bench = Bench::at(&server.endpoint());
    let run = bench.command(["run", PIPELINE]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    server.restart_with_secret_key("another-secret");
    let done = Finished(run.wait_with_output().unwrap());
    fails_saying(&done, "the secret key is wrong");
    assert!(!done.said().contains("lake-secret"));
    fails_saying(&bench.run(["run", PIPELINE]), "the secret key is wrong");
    let mended = bench.with_env("AWS_SECRET_ACCESS_KEY", "another-secret");
    assert_adds_up(&mended.run_pipeline(PIPELINE));
    let again = mended.run_pipeline(PIPELINE);
    assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{again}");
    // The readers know the old keys.
    server.restart_with_secret_key("lake-secret");
    assert_is_the_quickstart(&mended);
}

#[test]
fn a_clock_an_hour_off() {
    let proxy = Proxy::before(&minio().endpoint(), 5);
    let bench = Bench::at(&minio().endpoint()).through(&proxy.endpoint());
    for seconds in [3_600, -3_600] {
        proxy.set_lie(Some(Lie::ClockOff(seconds)));
        fails_saying(&bench.run(["run", PIPELINE]), "clock");
        let store = check(&bench, "store");
        assert!(store["detail"].as_str().unwrap().contains("clock"), "{store}");
    }
    proxy.set_lie(None);
    assert_adds_up(&bench.run_pipeline(PIPELINE));
    assert_is_the_quickstart(&bench);
}

#[test]
fn listings_that_lag_behind_lose_and_double_nothing() {
    let proxy = Proxy::before(&minio().endpoint(), 6);
    let bench = Bench::at(&minio().endpoint()).through(&proxy.endpoint());
    proxy.set_lie(Some(Lie::StaleListings(Duration::from_millis(400))));
    assert_eq!(check(&bench, "consistency")["status"], "warning");
    for _ in 0..6 {
        // A run may not yet see what the one before wrote; it must not write it again.
        let run = bench.run(["run", PIPELINE]);
        assert!(matches!(run.code(), 0 | 1), "{}", run.said());
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_adds_up(&bench.run_pipeline(PIPELINE));
    assert_is_the_quickstart(&bench);
}

#[test]
fn an_authority_of_ones_own() {
    let certificates = Certificates::new();
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir(data.path().join("bucket-tls")).unwrap();
    let server =
        Minio::start_with(MinioOptions { data: Some(data.path().to_path_buf()), certificates: Some(certificates.clone()) });
    let endpoint = server.endpoint();
    let bench = endpoint
        .env()
        .into_iter()
        .fold(Bench::new().with_env("LAKE_URI", "s3://bucket-tls/lake"), |bench, (name, value)| bench.with_env(&name, value));
    let bench = bench.with_env("LAKE_RETRY_SECONDS", "1");
    fails_saying(&bench.run(["run", PIPELINE]), "certificate");
    let bench = bench.with_env("AWS_CA_BUNDLE", certificates.authority());
    assert_adds_up(&bench.run_pipeline(PIPELINE));
    assert!(bench.run(["doctor"]).succeeded().stdout().contains("one of many writers"));
}

#[test]
fn a_profile_of_the_aws_files() {
    let bench = Bench::at(&minio().endpoint());
    let keys = bench.path("credentials");
    let Some(bucket) = bench.bucket() else { panic!("a lake on S3") };
    let (key, secret) = (&bucket.endpoint().access_key, &bucket.endpoint().secret_key);
    std::fs::write(&keys, format!("[lake-tests]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")).unwrap();
    let mut command = bench.command(["run", PIPELINE, "--quiet"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    command.env("AWS_SHARED_CREDENTIALS_FILE", &keys).env("AWS_PROFILE", "lake-tests");
    Finished(command.output().unwrap()).succeeded();
    assert_is_the_quickstart(&bench);
}

#[test]
fn another_server_than_minio() {
    let server = VersityGw::start();
    let bench = Bench::at(&server.endpoint());
    assert!(bench.run(["doctor"]).succeeded().stdout().contains("one of many writers"));
    assert_adds_up(&bench.run_pipeline(PIPELINE));
    assert_is_the_quickstart(&bench);
    server.restart();
    let again = bench.run_pipeline(PIPELINE);
    assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{again}");
}
