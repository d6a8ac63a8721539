//! Years of small runs: what keeps a table fast and small, and what puts it back to what it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use lake::pipeline::TableName;
use lake::table::{At, VacuumOptions};
use lake::{Lake, Once};
use lake_tests::bench::{Bench, Place};
use lake_tests::binary::table;
use lake_tests::servers::VersityGw;
use serde_json::{Value, json};

use crate::change::Project;

everywhere!(
    whatever_is_restored_the_next_run_comes_to_what_it_was,
    a_restored_table_is_as_it_was_with_what_stands_beside_it,
    a_time_means_the_version_that_was_the_newest_then,
    a_version_whose_files_were_deleted_is_refused_with_the_oldest_that_is_whole,
    optimize_changes_no_row_and_gives_the_next_run_nothing_to_do,
);

/// A keyed table with deletes and a quarantine, one that keeps every row, and gold over both.
const TABLES: &str = "    select: { id: id, text: text, n: CAST(n AS BIGINT) }
    key: [id]
    sequence_by: n
    delete_when: op = 'D'
    expect:
      has_text: { check: length(text) > 0, otherwise: quarantine }
  kept:
    from: bronze.items
    select: { id: id, n: CAST(n AS BIGINT) }
gold:
  counts:
    sql: SELECT count(*) AS items, sum(n) AS n FROM silver.items
  all_counts:
    sql: SELECT (SELECT count(*) FROM silver.kept) AS kept, (SELECT sum(items) FROM gold.counts) AS items";

/// What every table says of every workspace, but for when and by which run its rows came. Tombstones are for the platform: a table made
/// anew keeps those only that matter.
const QUESTIONS: [&str; 6] = [
    "SELECT id, text, n, op, _source, _source_row FROM bronze.items",
    "SELECT * FROM silver.items",
    "SELECT id, n FROM silver.kept",
    "SELECT id, n, _reason FROM silver.items_quarantine",
    "SELECT * FROM gold.counts",
    "SELECT * FROM gold.all_counts",
];

/// Numbers that are the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn deliver_some(project: &Project, step: usize, numbers: &mut Numbers) {
    let row = |numbers: &mut Numbers| {
        let workspace = ["acme", "globex", "with space/ü"][numbers.below(3) as usize];
        let n = (step as u64 * 100 + numbers.below(150)).to_string();
        let mut row = json!({"ws": workspace, "id": numbers.below(12).to_string(), "n": n});
        row["op"] = json!(if numbers.below(5) == 0 { "D" } else { "U" });
        row["text"] = json!(if numbers.below(6) == 0 { String::new() } else { format!("text {}", numbers.below(100)) });
        row
    };
    let rows: Vec<Value> = (0..15).map(|_| row(numbers)).collect();
    project.deliver(&format!("{step:03}.ndjson"), &rows);
}

/// The sorted answers to [`QUESTIONS`].
fn answers(project: &Project) -> Vec<Vec<String>> {
    let ask = |workspace: &str, sql: &str| {
        let found = project.bench.run(["query", sql, "--workspace", workspace, "--output", "json"]).succeeded().json();
        let mut rows: Vec<String> = found.as_array().unwrap().iter().map(Value::to_string).collect();
        rows.sort();
        rows
    };
    ["acme", "globex", "with space/ü"].iter().flat_map(|w| QUESTIONS.map(|sql| ask(w, sql))).collect()
}

/// Fails with the rows that are in one of two lists of answers only.
fn assert_same(found: &[Vec<String>], expected: &[Vec<String>], place: &str) {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
        let added: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
        let sql = QUESTIONS[index % QUESTIONS.len()];
        assert!(found == expected, "{place}: {sql}: {} for {} rows: {missing:?} became {added:?}", found.len(), expected.len());
    }
    assert_eq!(found.len(), expected.len());
}

fn version(project: &Project, name: &str) -> u64 {
    let tables = project.bench.run(["status", "--output", "json"]).succeeded().json();
    let found = tables.as_array().or_else(|| tables["tables"].as_array()).unwrap().iter().find(|t| t["table"] == name);
    found.unwrap()["version"].as_u64().unwrap()
}

fn restore(project: &Project, name: &str, version: u64) -> Value {
    let version = version.to_string();
    project.bench.run(["restore", name, "--to-version", &version, "--output", "json"]).succeeded().json()
}

fn whatever_is_restored_the_next_run_comes_to_what_it_was(place: Place) {
    let project = Project::new(place, TABLES);
    let mut numbers = Numbers(7);
    let names = ["bronze.items", "silver.items", "silver.kept", "gold.counts"];
    for step in 0..6 {
        deliver_some(&project, step, &mut numbers);
        match step {
            // Runs of one workspace keep progress of their own.
            2 => project.run_with(&["--workspace", "acme"]),
            3 => project.run_with(&["--workspace", "with space/ü"]),
            _ => project.run(),
        };
        if step == 4 {
            project.bench.run(["optimize", "silver.items", "bronze.items"]).succeeded();
        }
    }
    project.run();
    let expected = answers(&project);
    assert!(expected.iter().filter(|rows| !rows.is_empty()).count() > 15, "{expected:?}");
    for round in 0..6 {
        let mut undone = vec![];
        for _ in 0..=numbers.below(2) {
            let name = names[numbers.below(4) as usize];
            let to = numbers.below(version(&project, name) + 1);
            let report = restore(&project, name, to);
            undone.push(format!("{name} to {to}: {report}"));
        }
        if round % 3 == 2 {
            // One workspace's run comes first and leaves the others where they are.
            project.run_with(&["--workspace", "acme"]);
        }
        project.run();
        assert_same(&answers(&project), &expected, &format!("{undone:?}"));
        let again = project.run();
        assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{undone:?}: {again}");
    }
}

fn a_restored_table_is_as_it_was_with_what_stands_beside_it(place: Place) {
    let project = Project::new(place, TABLES);
    let mut numbers = Numbers(11);
    for step in 0..2 {
        deliver_some(&project, step, &mut numbers);
        project.run();
    }
    let (before, then) = (answers(&project), version(&project, "silver.items"));
    let question = |all: &[Vec<String>], index: usize| [0, 6, 12].map(|workspace| all[workspace + index].clone());
    let tombstones = || project.query("SELECT id FROM silver.items_tombstones ORDER BY id");
    let tombstones_before = tombstones();
    let row = |id: &str, op: &str, text: &str| json!({"ws": "acme", "id": id, "n": "999", "op": op, "text": text});
    project.deliver("2.ndjson", &[row("gone", "D", "x"), row("new", "U", "x"), row("bad", "U", "")]);
    project.run();
    let (after, tombstones_after) = (answers(&project), tombstones());
    for index in [1, 3] {
        assert_ne!(question(&before, index), question(&after, index), "the last run must change {}", QUESTIONS[index]);
    }
    assert_ne!(tombstones_before, tombstones_after);
    let versions = ["silver.items", "silver.items_quarantine", "silver.items_tombstones"].map(|n| version(&project, n));
    let to = then.to_string();
    let dry =
        project.bench.run(["restore", "silver.items", "--to-version", &to, "--dry-run", "--output", "json"]).succeeded().json();
    assert_eq!(dry.as_array().unwrap().len(), 3, "{dry}");
    assert!(dry[0]["files_removed"].as_u64().unwrap() > 0 && dry[0]["progress_restored"].as_u64().unwrap() > 0, "{dry}");
    assert_same(&answers(&project), &after, "");
    restore(&project, "silver.items", then);
    let restored = answers(&project);
    for index in [1, 3] {
        assert_eq!(question(&restored, index), question(&before, index), "{}", QUESTIONS[index]);
    }
    assert_eq!(tombstones(), tombstones_before);
    // A restore is undone like anything else.
    restore(&project, "silver.items", versions[0]);
    assert_same(&answers(&project), &after, "");
    assert_eq!(tombstones(), tombstones_after);
    let report = project.run();
    assert!(table(&report, "silver.items")["status"] == "unchanged", "{report}");
    let refused = project.bench.run(["restore", "silver.items_quarantine", "--to-version", "0"]);
    assert_eq!(refused.code(), 2);
    assert!(refused.stderr().contains("`silver.items`"), "{}", refused.stderr());
}

fn a_time_means_the_version_that_was_the_newest_then(place: Place) {
    let project = Project::new(place, TABLES);
    let mut numbers = Numbers(3);
    deliver_some(&project, 0, &mut numbers);
    project.run();
    let before = answers(&project);
    let then = chrono_like_now();
    // Stores tell times in whole seconds.
    std::thread::sleep(Duration::from_millis(2_100));
    deliver_some(&project, 1, &mut numbers);
    project.run();
    let report = project.bench.run(["restore", "gold.counts", "--to-time", &then, "--output", "json"]).succeeded().json();
    assert!(report[0]["files_restored"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(answers(&project)[4], before[4]);
    let early = project.bench.run(["restore", "gold.counts", "--to-time", "2001-01-01"]);
    assert_eq!(early.code(), 2);
    assert!(early.stderr().contains("does not reach back"), "{}", early.stderr());
    let late = project.bench.run(["restore", "gold.counts", "--to-version", "99"]);
    assert!(late.code() == 2 && late.stderr().contains("0 to "), "{}", late.stderr());
}

/// The present second, rounded up, as the command reads times.
fn chrono_like_now() -> String {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 1;
    let output = std::process::Command::new("date").args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

fn a_version_whose_files_were_deleted_is_refused_with_the_oldest_that_is_whole(place: Place) {
    let project = Project::new(place, TABLES);
    let mut numbers = Numbers(5);
    for step in 0..4 {
        deliver_some(&project, step, &mut numbers);
        project.run();
    }
    let expected = answers(&project);
    let newest = version(&project, "silver.items");
    let short = ["vacuum", "silver.items", "--retention-hours", "0", "--allow-short-retention", "--output", "json"];
    let report = project.bench.run(short).succeeded().json();
    let deleted = report[0]["files"].as_array().unwrap().len();
    assert!(deleted > 0 && report[0]["bytes"].as_u64().unwrap() > 0, "{report}");
    assert_same(&answers(&project), &expected, "");
    let refused = project.bench.run(["restore", "silver.items", "--to-version", "1"]);
    assert_eq!(refused.code(), 2);
    let said = refused.stderr();
    assert!(said.contains("were deleted by `vacuum`") && said.contains(&format!("can be restored is {newest}")), "{said}");
    assert_same(&answers(&project), &expected, "");
    assert_eq!(project.bench.run(short).succeeded().json()[0]["files"], json!([]), "what is gone is not deleted again");
    restore(&project, "silver.items", newest);
    assert_same(&answers(&project), &expected, "");
}

fn optimize_changes_no_row_and_gives_the_next_run_nothing_to_do(place: Place) {
    let project = Project::new(place, TABLES);
    let mut numbers = Numbers(13);
    for step in 0..4 {
        deliver_some(&project, step, &mut numbers);
        project.run();
    }
    let expected = answers(&project);
    let report = project.bench.run(["optimize", "--output", "json"]).succeeded().json();
    let bronze = report.as_array().unwrap().iter().find(|r| r["table"] == "bronze.items").unwrap();
    assert_eq!((&bronze["files_removed"], &bronze["files_added"]), (&json!(12), &json!(3)), "{report}");
    assert_same(&answers(&project), &expected, "");
    let again = project.run();
    assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{again}");
    let sorted = project.bench.run(["optimize", "silver.items", "--zorder-by", "id,n", "--output", "json"]).succeeded().json();
    assert_eq!(sorted[0]["files_added"], 3, "{sorted}");
    assert_same(&answers(&project), &expected, "");
    deliver_some(&project, 4, &mut numbers);
    let report = project.run();
    assert_eq!(table(&report, "silver.items")["strategy"], "merge");
    assert_eq!(table(&report, "silver.kept")["strategy"], "append");
    let merged = answers(&project);
    project.run_with(&["--full-refresh"]);
    assert_same(&answers(&project), &merged, "");
    let wrong = project.bench.run(["optimize", "silver.items", "--z-order", "workspace_id"]);
    assert!(wrong.code() == 2 && wrong.stderr().contains("parted by"), "{}", wrong.stderr());
}

#[test]
fn upkeep_of_all_tables_goes_on_past_a_broken_one_and_says_so() {
    let project = Project::new(Place::Disk, TABLES);
    let mut numbers = Numbers(17);
    for step in 0..3 {
        deliver_some(&project, step, &mut numbers);
        project.run();
    }
    let log = project.bench.lake().join("bronze/aaa/_delta_log");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("00000000000000000000.json"), "{bad").unwrap();
    for command in [vec!["optimize"], vec!["vacuum"]] {
        let done = project.bench.run(command.iter().copied().chain(["--output", "json"]));
        assert_eq!(done.code(), 1, "{}", done.stderr());
        assert!(done.stderr().contains("bronze.aaa"), "{}", done.stderr());
        assert!(done.json().as_array().unwrap().iter().any(|r| r["table"] == "silver.items"), "{}", done.stdout());
    }
}

#[test]
fn vacuum_takes_what_killed_runs_left_and_only_when_it_is_old() {
    let project = Project::new(Place::Disk, TABLES);
    let mut numbers = Numbers(19);
    deliver_some(&project, 0, &mut numbers);
    project.run();
    let expected = answers(&project);
    let partition = files_below(&project.bench.lake().join("bronze/items"))
        .into_iter()
        .find(|f| f.to_string_lossy().contains("workspace_id="))
        .unwrap()
        .parent()
        .unwrap()
        .to_path_buf();
    let log = project.bench.lake().join("bronze/items/_delta_log");
    let left = [partition.join("part-0.parquet"), partition.join("part-1.parquet#1"), log.join("00000000000000000009.json#3")];
    for file in &left {
        fs::write(file, "half").unwrap();
    }
    let vacuum = |more: &[&str]| {
        let all = ["vacuum", "bronze.items", "--output", "json"].into_iter().chain(more.iter().copied());
        project.bench.run(all).succeeded().json()[0].clone()
    };
    assert_eq!(vacuum(&[])["files"], json!([]), "a run may be writing them");
    let old = SystemTime::now() - Duration::from_secs(200 * 3_600);
    for file in &left {
        fs::File::options().write(true).open(file).unwrap().set_modified(old).unwrap();
    }
    let dry = vacuum(&["--dry-run"]);
    assert_eq!((dry["files"].as_array().unwrap().len(), &dry["bytes"]), (3, &json!(12)), "{dry}");
    assert!(left.iter().all(|f| f.exists()));
    assert_eq!(vacuum(&[])["files"].as_array().unwrap().len(), 3);
    assert!(left.iter().all(|f| !f.exists()));
    assert_same(&answers(&project), &expected, "");
}

#[test]
fn a_reader_whose_history_was_cleaned_up_makes_its_table_anew() {
    let project = Project::new(Place::Disk, TABLES);
    let mut numbers = Numbers(23);
    deliver_some(&project, 0, &mut numbers);
    project.run_with(&["--select", "bronze.items"]);
    let log = project.bench.lake().join("bronze/items/_delta_log");
    forget_at_once(&log);
    deliver_some(&project, 1, &mut numbers);
    project.run();
    for step in 2..45 {
        deliver_some(&project, step, &mut numbers);
        project.run_with(&["--select", "bronze.items"]);
    }
    assert!(!log.join("00000000000000000003.json").exists(), "the log is cleaned up");
    let entries = fs::read_dir(&log).unwrap().count();
    assert!(entries < 50, "{entries} files in the log after 45 commits");
    let report = project.run();
    assert_eq!(table(&report, "bronze.items")["status"], "unchanged", "progress survives the clean-up: {report}");
    assert_eq!(table(&report, "silver.items")["strategy"], "replace", "{report}");
    let rebuilt = answers(&project);
    project.run_with(&["--full-refresh"]);
    assert_same(&answers(&project), &rebuilt, "");
}

/// Lets the log of a table keep nothing that a checkpoint holds.
fn forget_at_once(log: &Path) {
    for commit in files_below(log) {
        let text = fs::read_to_string(&commit).unwrap();
        assert!(text.contains("interval 30 days") || !text.contains("metaData"), "{text}");
        fs::write(&commit, text.replace("interval 30 days", "interval 0 days")).unwrap();
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}

fn named(folder: &Path, ending: &str) -> usize {
    files_below(folder).iter().filter(|f| f.to_string_lossy().ends_with(ending)).count()
}

fn notes(id: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, true)]);
    let text = StringArray::from(vec![format!("note {id}")]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![id])), Arc::new(text)]).unwrap()
}

async fn ids(lake: &Lake, workspace: &str) -> Vec<i64> {
    let sql = "SELECT id FROM silver.notes ORDER BY id";
    let batches = lake.workspace(workspace).unwrap().collect(sql).await.unwrap();
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn lake_in(folder: &Path) -> Lake {
    Lake::builder().uri(folder.to_str().unwrap()).build().unwrap()
}

const WORKSPACES: [&str; 3] = ["acme", "globex & söhne/ü", "100 %"];

/// 10,000 with `LAKE_TEST_FULL`; a number that a test can wait for without.
fn many() -> i64 {
    if std::env::var_os("LAKE_TEST_FULL").is_some() { 10_000 } else { 900 }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_small_writes_leave_few_files_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, name): (Lake, TableName) = (lake_in(folder.path()), "silver.notes".parse().unwrap());
    let (data, log) = (folder.path().join("silver/notes"), folder.path().join("silver/notes/_delta_log"));
    let (writes, each) = (many(), |n: i64| WORKSPACES[(n % 3) as usize]);
    for n in 0..writes {
        // One in a hundred comes twice, as from a service that did not hear the answer.
        for repeated in 0..if n % 100 == 0 { 2 } else { 1 } {
            let once = Some(Once { name: format!("queue/{}", n % 500), number: n });
            let written = lake.workspace(each(n)).unwrap().append("silver.notes", &[notes(n)], once).await.unwrap();
            assert_eq!(written.repeated, repeated == 1, "write {n}");
        }
    }
    let expected: Vec<Vec<i64>> = WORKSPACES.iter().map(|w| (0..writes).filter(|n| each(*n) == *w).collect()).collect();
    let mut found = vec![];
    for workspace in WORKSPACES {
        found.push(ids(&lake, workspace).await);
    }
    assert_eq!(found, expected);
    // Opening reads the newest checkpoint and what came after it.
    let newest = lake.snapshot(&name, At::Latest).await.unwrap().unwrap().version();
    assert_eq!(newest, writes);
    let hint: Value = serde_json::from_slice(&fs::read(log.join("_last_checkpoint")).unwrap()).unwrap();
    let behind = newest - hint["version"].as_i64().unwrap();
    assert!((0..20).contains(&behind), "{behind} commits since the newest checkpoint");
    // Compaction leaves one file for each workspace.
    let report = lake.optimize(&name, &[]).await.unwrap().unwrap();
    assert_eq!((report.files_removed, report.files_added), (writes as u64, 3));
    let now = lake.snapshot(&name, At::Latest).await.unwrap().unwrap();
    assert_eq!(now.files(&lake::table::Scope::Feed).unwrap().len(), 3);
    // The library deletes what the old versions needed, and nothing that is needed.
    let options = VacuumOptions { retention_hours: 0, allow_short: true, dry_run: false };
    let report = lake.vacuum(&name, &options).await.unwrap().unwrap();
    assert_eq!(report.files.len() as i64, writes);
    assert_eq!(named(&data, ".parquet") - named(&log, ".parquet"), 3);
    for (workspace, expected) in WORKSPACES.iter().zip(&expected) {
        assert_eq!(&ids(&lake, workspace).await, expected);
    }
    let late = Some(Once { name: "queue/7".into(), number: 7 });
    let again = lake.workspace(each(7)).unwrap().append("silver.notes", &[notes(7)], late).await.unwrap();
    assert!(again.repeated, "what was written once stays known");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_may_forget_stays_short_however_many_writes_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path());
    let acme = lake.workspace("acme").unwrap();
    let log = folder.path().join("silver/notes/_delta_log");
    let once = |n| Some(Once { name: "queue".into(), number: n });
    let mut most = 0;
    for n in 0..250 {
        acme.append("silver.notes", &[notes(n)], once(n)).await.unwrap();
        if n == 0 {
            forget_at_once(&log);
        }
        most = most.max(fs::read_dir(&log).unwrap().count());
    }
    assert!(most < 50, "{most} files in the log");
    assert!(acme.append("silver.notes", &[notes(3)], once(3)).await.unwrap().repeated);
    assert_eq!(ids(&lake, "acme").await, (0..250).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_written_fails_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path());
    let acme = lake.workspace("acme").unwrap();
    acme.append("silver.notes", &[notes(0)], None).await.unwrap();
    let log = folder.path().join("silver/notes/_delta_log");
    let blocked = log.join("00000000000000000019.checkpoint.parquet");
    fs::create_dir_all(blocked.join("in the way")).unwrap();
    for n in 1..30 {
        acme.append("silver.notes", &[notes(n)], Some(Once { name: "queue".into(), number: n })).await.unwrap();
    }
    assert!(blocked.is_dir(), "no checkpoint was written");
    assert_eq!(ids(&lake, "acme").await, (0..30).collect::<Vec<_>>());
    fs::remove_dir_all(&blocked).unwrap();
    // The upkeep makes the one that is missing.
    let options = VacuumOptions { retention_hours: 168, allow_short: false, dry_run: false };
    lake.vacuum(&"silver.notes".parse().unwrap(), &options).await.unwrap();
    assert!(log.join("00000000000000000030.checkpoint.parquet").is_file());
    assert!(acme.append("silver.notes", &[notes(3)], Some(Once { name: "queue".into(), number: 3 })).await.unwrap().repeated);
}

#[tokio::test(flavor = "multi_thread")]
async fn optimize_between_writers_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake_in(folder.path());
    lake.workspace("acme").unwrap().merge("silver.notes", &[notes(0)], &["id"], None, None).await.unwrap();
    let writers = (0..3i64).map(|w| {
        let acme = lake.workspace("acme").unwrap();
        let write = move |n: i64| {
            let (acme, row) = (acme.clone(), notes(w * 1_000 + n));
            async move {
                match w {
                    0 => acme.merge("silver.notes", &[row], &["id"], None, None).await.unwrap(),
                    _ => acme.append("silver.notes", &[row], None).await.unwrap(),
                }
            }
        };
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || (0..20).all(|n| runtime.block_on(write(n)).version > 0))
    });
    let writers: Vec<_> = writers.collect();
    let (name, mut optimized): (TableName, u64) = ("silver.notes".parse().unwrap(), 0);
    while writers.iter().any(|w| !w.is_finished()) {
        match lake.optimize(&name, &[]).await {
            Ok(report) => optimized += report.unwrap().files_removed,
            Err(error) => assert_eq!(error.kind(), lake::ErrorKind::Conflict, "{error}"),
        }
    }
    for writer in writers {
        assert!(writer.await.unwrap());
    }
    optimized += lake.optimize(&name, &[]).await.unwrap().unwrap().files_removed;
    assert!(optimized > 0);
    let expected: Vec<i64> = (0..3).flat_map(|w| (0..20).map(move |n| w * 1_000 + n)).collect();
    assert_eq!(ids(&lake, "acme").await, expected);
}

#[test]
fn vacuum_gives_up_uploads_that_nobody_finished() {
    let server = VersityGw::start();
    let bench = Bench::at(&server.endpoint());
    bench.run_pipeline("pipelines/quickstart.yaml");
    let Some(bucket) = bench.bucket() else { panic!("a lake on S3") };
    let begin = |key: &str| {
        let begun = bucket.try_send("POST", key, "uploads=", &[], b"").unwrap();
        assert_eq!(begun.status, 200, "{begun:?}");
    };
    begin("team/lake/silver/posts/workspace_id=acme/old.parquet");
    begin("team/lake/silver/posts_other/old.parquet");
    let age = |ago: &str| {
        let uploads = server.folder().join("data").join(bucket.name()).join(".sgwtmp");
        let find = ["-exec", "touch", "-d", ago, "{}", "+"];
        assert!(std::process::Command::new("find").arg(&uploads).args(find).status().unwrap().success());
    };
    let vacuum = |more: &[&str]| {
        let args = ["vacuum", "silver.posts", "--output", "json"].into_iter().chain(more.iter().copied());
        bench.run(args).succeeded().json()[0]["uploads"].clone()
    };
    assert_eq!(vacuum(&[]), 0, "an upload that may still go on is left alone");
    age("9 days ago");
    assert_eq!(vacuum(&["--dry-run"]), 1, "only those of the table");
    assert_eq!(vacuum(&[]), 1);
    assert_eq!(vacuum(&[]), 0);
}
