//! Many processes at once on the same tables: appends and merges, in the same workspaces and in different ones, of inputs of their own and of shared
//! ones. No row is lost or doubled, and every commit is some run's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lake_tests::bench::{Bench, Place};
use lake_tests::binary::Finished;
use lake_tests::proxy::{Lie, Proxy};
use lake_tests::servers::{Minio, Redis};
use serde_json::{Value, json};

const PIPELINE: &str = "tests/pipelines/writers.yaml";
const PROCESSES: usize = 8;

/// How many runs each process makes: two hundred where the whole is asked for, else what takes a few minutes.
fn runs() -> usize {
    if std::env::var_os("LAKE_TEST_FULL").is_some() { 200 } else { 40 }
}

/// What one process writes for, and where its input lies. Processes 0 to 3 have workspaces of their own or share one; those
/// of the second half read the same folders as those of the first, so that two of them meet the same files.
struct Writer {
    workspace: &'static str,
    feed: PathBuf,
}

fn writers(bench: &Bench) -> Vec<Writer> {
    let workspaces = ["acme", "globex", "Åse & Söner", "acme"];
    let feed = |number: usize| bench.path(&format!("feed-{}", number % 4));
    (0..PROCESSES).map(|n| Writer { workspace: workspaces[n % 4], feed: feed(n) }).collect()
}

/// The rows of a file: two new items, a change of an earlier one, and now and then a delete.
fn rows(process: usize, run: usize) -> Vec<Value> {
    let at = (run * 10 + process) as u64;
    // Shared by the processes of a workspace, so that merges meet in the same keys.
    let shared = format!("shared-{}", run % 7);
    let own = |n: usize| format!("p{process}-{n}");
    let mut rows = vec![
        json!({"id": own(2 * run), "at": at, "op": "U", "text": format!("new in run {run}")}),
        json!({"id": own(2 * run + 1), "at": at, "op": "U", "text": format!("new in run {run}")}),
        json!({"id": shared, "at": at, "op": "U", "text": format!("by process {process} in run {run}")}),
    ];
    if run % 3 == 2 {
        rows.push(json!({"id": own(run), "at": at, "op": "D", "text": null}));
    }
    rows
}

/// What the tables must hold: rows of the log by workspace, and the latest of each item.
#[derive(Default)]
struct Expected {
    log: BTreeMap<&'static str, BTreeMap<(String, u64), usize>>,
    items: BTreeMap<&'static str, BTreeMap<String, (u64, Option<String>)>>,
}

impl Expected {
    fn add(&mut self, workspace: &'static str, rows: &[Value]) {
        for row in rows {
            let (id, at) = (row["id"].as_str().unwrap().to_string(), row["at"].as_u64().unwrap());
            *self.log.entry(workspace).or_default().entry((id.clone(), at)).or_default() += 1;
            let text = (row["op"] == "U").then(|| row["text"].as_str().unwrap().to_string());
            let items = self.items.entry(workspace).or_default();
            if items.get(&id).is_none_or(|(before, _)| *before < at) {
                items.insert(id, (at, text));
            }
        }
    }
}

fn deliver(folder: &Path, name: &str, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    let (half, whole) = (folder.join(format!(".{name}")), folder.join(format!("{name}.ndjson")));
    fs::write(&half, lines.join("\n") + "\n").unwrap();
    fs::rename(half, whole).unwrap();
}

/// Runs all writers at once; gives the reports of their runs.
fn run_all(bench: &Bench, runs: usize) -> Vec<Value> {
    let writers = writers(bench);
    for writer in &writers {
        fs::create_dir_all(&writer.feed).unwrap();
    }
    std::thread::scope(|scope| {
        let started: Vec<_> = writers
            .iter()
            .enumerate()
            .map(|(process, writer)| {
                scope.spawn(move || {
                    let mut reports = vec![];
                    for run in 0..runs {
                        deliver(&writer.feed, &format!("{process}-{run:05}"), &rows(process, run));
                        let mut command = bench.command(["run", PIPELINE, "--output", "json"]);
                        command.env("WORKSPACE_ID", writer.workspace).env("FEED_DIR", &writer.feed);
                        let done = Finished(command.output().unwrap());
                        reports.push(done.succeeded().json());
                    }
                    reports
                })
            })
            .collect();
        started.into_iter().flat_map(|t| t.join().unwrap()).collect()
    })
}

fn query(bench: &Bench, workspace: &str, sql: &str) -> Vec<Value> {
    let found = bench.run(["query", sql, "--workspace", workspace, "--output", "json"]).succeeded().json();
    found.as_array().unwrap().clone()
}

/// The first table that does not hold what it must.
fn lost_or_doubled(bench: &Bench, runs: usize) -> Option<String> {
    let mut expected = Expected::default();
    for run in 0..runs {
        for (process, writer) in writers(bench).iter().enumerate() {
            expected.add(writer.workspace, &rows(process, run));
        }
    }
    for (workspace, log) in &expected.log {
        for table in ["bronze.events", "silver.log"] {
            let mut found: BTreeMap<(String, u64), usize> = BTreeMap::new();
            for row in query(bench, workspace, &format!("SELECT id, CAST(at AS BIGINT) AS at FROM {table}")) {
                *found.entry((row["id"].as_str().unwrap().into(), row["at"].as_u64().unwrap())).or_default() += 1;
            }
            if &found != log {
                return Some(format!("{table} of {workspace}: {}", difference(&found, log)));
            }
        }
    }
    for (workspace, items) in &expected.items {
        let kept: BTreeMap<String, (u64, String)> =
            items.iter().filter_map(|(id, (at, text))| Some((id.clone(), (*at, text.clone()?)))).collect();
        let found: BTreeMap<String, (u64, String)> = query(bench, workspace, "SELECT id, at, text FROM silver.items")
            .iter()
            .map(|r| (r["id"].as_str().unwrap().into(), (r["at"].as_u64().unwrap(), r["text"].as_str().unwrap().into())))
            .collect();
        if found != kept {
            return Some(format!("silver.items of {workspace}: {}", difference(&found, &kept)));
        }
    }
    None
}

fn difference<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) -> String {
    let keys: BTreeSet<&K> = found.keys().chain(expected.keys()).collect();
    let differing = keys.into_iter().filter(|k| found.get(k) != expected.get(k));
    let first: Vec<String> =
        differing.take(5).map(|k| format!("{k:?} is {:?}, not {:?}", found.get(k), expected.get(k))).collect();
    first.join("; ")
}

/// Every version of every table is the creation or the commit of a run that says so, and of one run only.
fn assert_every_commit_is_accounted_for(bench: &Bench, reports: &[Value]) -> usize {
    let ids: BTreeSet<&str> = reports.iter().map(|r| r["run_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), reports.len());
    let mut commits = 0;
    for table in ["bronze.events", "silver.log", "silver.items", "silver.items_tombstones"] {
        let mut claimed: BTreeMap<i64, &str> = BTreeMap::new();
        for report in reports {
            for part in report["tables"].as_array().unwrap().iter().filter(|t| t["table"] == table && t["status"] == "written") {
                let other = claimed.insert(part["version_to"].as_i64().unwrap(), report["run_id"].as_str().unwrap());
                assert_eq!(other, None, "two runs claim a version of {table}");
            }
        }
        let folder = table.replace('.', "/");
        for version in 1.. {
            let Some(entry) = bench.read(&format!("{folder}/_delta_log/{version:020}.json")) else { break };
            let text = String::from_utf8(entry).unwrap();
            let info = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).find_map(|l| l.get("commitInfo").cloned());
            let run = info.unwrap()["lake.run_id"].as_str().unwrap().to_string();
            assert!(ids.contains(run.as_str()), "version {version} of {table} is of no run");
            if table != "silver.items_tombstones" {
                assert_eq!(claimed.remove(&version), Some(run.as_str()), "version {version} of {table}");
            }
            commits += 1;
        }
        assert!(claimed.is_empty(), "versions of {table} that runs claim and nobody finds: {claimed:?}");
    }
    commits
}

/// Tells throughput and conflicts.
fn tell(what: &str, reports: &[Value], commits: usize, taken: Duration) {
    let of = |name: &str| {
        let tables = reports.iter().flat_map(|r| r["tables"].as_array().unwrap());
        tables.map(|t| t[name].as_u64().unwrap_or_default()).collect::<Vec<_>>()
    };
    let (attempts, resent) = (of("attempts"), of("commits_resent"));
    let again: u64 = attempts.iter().map(|a| a.saturating_sub(1)).sum();
    eprintln!(
        "{what}: {} runs of {PROCESSES} processes in {:.0} s, {:.1} runs and {:.1} commits a second; {commits} commits, {} sent again, {again} computed anew, at most {} attempts",
        reports.len(),
        taken.as_secs_f64(),
        reports.len() as f64 / taken.as_secs_f64(),
        commits as f64 / taken.as_secs_f64(),
        resent.iter().sum::<u64>(),
        attempts.iter().max().unwrap(),
    );
}

fn write_with_all(what: &str, bench: &Bench, runs: usize) {
    let started = Instant::now();
    let reports = run_all(bench, runs);
    let taken = started.elapsed();
    assert_eq!(lost_or_doubled(bench, runs), None);
    let commits = assert_every_commit_is_accounted_for(bench, &reports);
    tell(what, &reports, commits, taken);
}

#[test]
fn eight_processes_lose_and_double_nothing_on_s3() {
    write_with_all("MinIO", &Bench::on(Place::S3), runs());
}

#[test]
fn eight_processes_lose_and_double_nothing_on_disk() {
    write_with_all("disk", &Bench::on(Place::Disk), runs().div_ceil(10));
}

const LIES: [Lie; 2] = [Lie::IgnoresConditions, Lie::LooksThenWrites(Duration::from_millis(20), Duration::from_millis(50))];

#[test]
fn a_store_that_lies_about_conditions_is_found_out_and_refused() {
    let server = Minio::start();
    for lie in LIES {
        let proxy = Proxy::before(&server.endpoint(), 1);
        proxy.set_lie(Some(lie));
        let bench = Bench::at(&server.endpoint()).through(&proxy.endpoint());
        let refused = bench.run(["run", "pipelines/quickstart.yaml"]);
        assert_eq!(refused.code(), 1, "{lie:?}: {}", refused.stderr());
        let said = refused.said();
        assert!(said.contains("concurrent writers would lose") && said.contains("LAKE_LOCK"), "{lie:?}: {said}");
        assert!(!bench.files().keys().any(|path| path.contains("_delta_log")), "{lie:?}: something was committed");
        let doctor = bench.run(["doctor", "--output", "json"]);
        assert_eq!(doctor.code(), 1);
        let checks = doctor.json();
        let fence = checks["checks"].as_array().unwrap().iter().find(|c| c["check"] == "concurrent writers").unwrap().clone();
        assert_eq!(fence["status"], "failed", "{checks}");
        let mut alone = bench.command(["run", "pipelines/quickstart.yaml"]);
        Finished(alone.env("LAKE_LOCK", "single-writer").output().unwrap()).succeeded();
    }
}

#[test]
fn with_the_lock_eight_processes_lose_and_double_nothing_on_a_store_that_lies() {
    let (server, redis) = (Minio::start(), Redis::start());
    let proxy = Proxy::before(&server.endpoint(), 2);
    proxy.set_lie(Some(LIES[1]));
    let bench = Bench::at(&server.endpoint()).through(&proxy.endpoint()).with_env("LAKE_LOCK", redis.url());
    write_with_all("a store that lies, with the lock", &bench, runs());
}

#[test]
fn a_lock_server_that_is_gone_stops_commits_and_says_so() {
    let (server, redis) = (Minio::start(), Redis::start());
    let bench = Bench::at(&server.endpoint()).with_env("LAKE_LOCK", redis.url());
    bench.run_pipeline("pipelines/quickstart.yaml");
    redis.kill();
    let fresh = Bench::at(&server.endpoint()).with_env("LAKE_LOCK", redis.url());
    let refused = fresh.run(["run", "pipelines/quickstart.yaml"]);
    assert_eq!(refused.code(), 1);
    let said = refused.said();
    assert!(said.contains("the lock server") && said.contains("LAKE_LOCK"), "{said}");
    redis.restart();
    fresh.run_pipeline("pipelines/quickstart.yaml");
}

/// The lock and the lie are real: without the lock two writers of this store do both win.
#[test]
fn without_the_lock_the_store_that_lies_loses_commits() {
    let server = Minio::start();
    let proxy = Proxy::before(&server.endpoint(), 3);
    let bench = Bench::at(&server.endpoint()).through(&proxy.endpoint());
    // The probe is made while the store is honest, and believed.
    bench.run(["doctor"]).succeeded();
    // Long enough for writers to meet on a machine that is busy.
    proxy.set_lie(Some(Lie::LooksThenWrites(Duration::from_millis(200), Duration::from_millis(400))));
    run_all(&bench, 6);
    let lost = lost_or_doubled(&bench, 6);
    assert!(lost.is_some(), "eight writers on a store that lies lost nothing: the test above proves nothing");
}
