//! Workspaces with names that are hard on file systems, URLs and logs: their rows come back to them alone, or the name is refused.

use std::collections::BTreeSet;

use lake_tests::bench::{Bench, Place};
use lake_tests::binary::{assert_adds_up, table};
use serde_json::{Value, json};

/// Names that work, some of them close to each other.
fn fine() -> Vec<String> {
    let plain = [
        "a/b",
        "a%2Fb",
        "a%252Fb",
        "%2F",
        "%",
        "a b",
        "a%20b",
        "a+b",
        "..x",
        ".hidden",
        "...",
        "a..b",
        "a/../b",
        "/a",
        "a/",
        "a\\b",
        "a=b",
        "workspace_id=acme",
        "'",
        "\"quoted\"",
        "'; DROP TABLE x; --",
        "🦀",
        "e\u{301}",
        "é",
        "A",
        "a",
        "a#b?c&d",
        "*",
        "[a]",
        "{a}",
        "~",
        "-",
        "_x",
        "null",
        "NULL",
        "C:\\x",
        "a:b",
        "a\u{200b}b",
        "<a>",
        "a|b",
        "$HOME",
        "`a`",
        "acme@globex",
        "a,b",
    ];
    let long = ["x".repeat(200), format!("{}y", "x".repeat(199)), "🦀".repeat(16), "/".repeat(66)];
    plain.into_iter().map(String::from).chain(long).collect()
}

/// Names that are refused, and the start of the reason.
fn wrong() -> Vec<(String, &'static str)> {
    let plain = [
        (" ", "starts or ends with white space"),
        (" a", "starts or ends with white space"),
        ("a\u{a0}", "starts or ends with white space"),
        (".", "is a relative path"),
        ("..", "is a relative path"),
        ("a\nb", "has a control character"),
        ("a\tb", "has a control character"),
        ("\u{7f}", "has a control character"),
        ("__HIVE_DEFAULT_PARTITION__", "starts with `__`"),
        ("__unassigned__", "starts with `__`"),
    ];
    let long = [
        ("x".repeat(201), "is longer than 200"),
        ("🦀".repeat(17), "is longer than 200"),
        ("/".repeat(67), "is longer than 200"),
    ];
    plain.into_iter().map(|(name, why)| (name.to_string(), why)).chain(long).collect()
}

const PIPELINE: &str = r#"
name: names
workspace: WORKSPACE
bronze:
  posts:
    method: file_ingest
    inputs: { path: "FEED/*.ndjson", format: ndjson }
silver:
  posts:
    from: bronze.posts
    select: { id: id, n: try_cast(n AS BIGINT), text: text }
    key: [id]
    sequence_by: n
    expect: { text_present: { check: length(text) > 0, otherwise: quarantine } }
gold:
  counts:
    sql: SELECT count(*) AS posts, sum(n) AS n FROM silver.posts
"#;

fn pipeline(bench: &Bench, workspace: &str) -> String {
    let file = bench.path("names.yaml");
    let feed = bench.path("feed");
    std::fs::create_dir_all(&feed).unwrap();
    std::fs::write(&file, PIPELINE.replace("WORKSPACE", workspace).replace("FEED", &feed.to_string_lossy())).unwrap();
    file.to_string_lossy().into_owned()
}

fn deliver(bench: &Bench, file: &str, records: impl IntoIterator<Item = Value>) {
    let lines: String = records.into_iter().map(|record| format!("{record}\n")).collect();
    std::fs::create_dir_all(bench.path("feed")).unwrap();
    std::fs::write(bench.path("feed").join(file), lines).unwrap();
}

/// Three rows for each name: one that stays, one that is replaced later, and one that is quarantined; each tells its workspace.
fn first(names: &[String]) -> Vec<Value> {
    let rows = |name: &String| {
        [("keep", 1, "kept"), ("change", 1, "old"), ("bad", 1, "")].map(|(id, n, text)| record(name, id, n, text))
    };
    names.iter().flat_map(rows).collect()
}

fn record(name: &str, id: &str, n: u64, text: &str) -> Value {
    let text = if text.is_empty() { String::new() } else { format!("{text} of {name}") };
    json!({"workspace_id": name, "id": id, "n": n, "text": text})
}

fn query(bench: &Bench, name: &str, sql: &str) -> Value {
    let output = bench.command(["query", sql, "--output", "json"]).env("WORKSPACE_ID", name).output().unwrap();
    assert!(output.status.success(), "`{name}`: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The partitions that a report lists for a table.
fn listed(report: &Value, name: &str, what: &str) -> BTreeSet<String> {
    let list = table(report, name)[what].as_array().unwrap_or_else(|| panic!("no list `{what}`: {report}"));
    list.iter().map(|folder| folder.as_str().unwrap().to_string()).collect()
}

/// The partitions of a table that hold files in the store.
fn folders(bench: &Bench, table: &str) -> BTreeSet<String> {
    let paths = bench.files().into_keys().filter(|path| path.starts_with(&format!("{table}/workspace_id=")));
    paths.map(|path| path.rsplit_once('/').unwrap().0.to_string()).collect()
}

fn rows_of_every_name_come_back_to_it_alone(place: Place) {
    let (bench, names) = (Bench::on(place), fine());
    let refused = wrong().into_iter().map(|(name, _)| name).chain([String::new(), "a\u{0}b".into()]);
    deliver(&bench, "1.ndjson", first(&names).into_iter().chain(refused.map(|name| record(&name, "x", 1, "nobody's"))));
    let file = pipeline(&bench, "{ column: workspace_id }");
    let report = bench.run_pipeline(&file);
    assert_adds_up(&report);
    let nobodys = wrong().len() + 2;
    assert_eq!(table(&report, "bronze.posts")["rows_quarantined"], nobodys);
    deliver(&bench, "2.ndjson", names.iter().map(|name| record(name, "change", 2, "new")));
    let again = bench.run_pipeline(&file);
    assert_eq!(table(&again, "silver.posts")["rows_written"], names.len());
    for name in &names {
        let bronze = query(&bench, name, "SELECT DISTINCT workspace_id AS w FROM bronze.posts");
        assert_eq!(bronze, json!([{"w": name}]));
        let silver = query(&bench, name, "SELECT id, text, workspace_id AS w FROM silver.posts ORDER BY id");
        let expected = [("change", "new"), ("keep", "kept")]
            .map(|(id, text)| json!({"id": id, "text": format!("{text} of {name}"), "w": name}));
        assert_eq!(silver, json!(expected));
        assert_eq!(query(&bench, name, "SELECT id FROM silver.posts_quarantine"), json!([{"id": "bad"}]));
        assert_eq!(query(&bench, name, "SELECT posts, n FROM gold.counts"), json!([{"posts": 2, "n": 3}]));
    }
    for folder in ["bronze/posts", "silver/posts", "silver/posts_quarantine", "gold/counts"] {
        assert_eq!(folders(&bench, folder).len(), names.len(), "a folder of `{folder}` is shared");
    }
    let bronze = folders(&bench, "bronze/posts");
    let silver = bronze.iter().map(|folder| folder.replacen("bronze/", "silver/", 1)).collect::<BTreeSet<_>>();
    let quarantine = folders(&bench, "silver/posts_quarantine");
    let nobody = BTreeSet::from(["bronze/posts_quarantine/workspace_id=__unassigned__".to_string()]);
    assert_eq!(listed(&report, "bronze.posts", "partitions_read"), BTreeSet::new());
    assert_eq!(listed(&report, "bronze.posts", "partitions_written"), &bronze | &nobody);
    assert_eq!(listed(&report, "silver.posts", "partitions_written"), &silver | &quarantine);
    assert_eq!(listed(&again, "silver.posts", "partitions_read"), &bronze | &silver);
}

fn a_name_that_cannot_be_is_refused_with_the_reason(place: Place) {
    let bench = Bench::on(place);
    deliver(&bench, "1.ndjson", [json!({"id": "keep", "n": 1, "text": "x"})]);
    let file = pipeline(&bench, "${WORKSPACE}");
    for (name, why) in wrong() {
        let output = bench.command(["run", &file]).env("WORKSPACE_ID", &name).env("WORKSPACE", "acme").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // A variable that is blank is one that is not set.
        if name.trim().is_empty() {
            continue;
        }
        assert_eq!(output.status.code(), Some(2), "`{name}`: {said}");
        assert!(said.contains(&format!("workspace name {why}")), "`{name}`: {said}");
    }
    let written: Vec<_> = bench.table_files().into_keys().filter(|path| path.contains("workspace_id=")).collect();
    assert!(written.iter().all(|path| path.contains("/workspace_id=acme/")), "{written:?}");
}

fn a_run_of_one_workspace_leaves_the_proof_that_it_kept_to_it(place: Place) {
    let bench = Bench::on(place);
    let names: Vec<String> = ["a/b", "a", "b", "a%2Fb"].map(String::from).to_vec();
    deliver(&bench, "1.ndjson", first(&names));
    let file = pipeline(&bench, "{ column: workspace_id }");
    bench.run_pipeline(&file);
    deliver(&bench, "2.ndjson", names.iter().map(|name| record(name, "change", 2, "new")));
    let run = |name: &str| -> Value {
        let output = bench.command(["run", &file, "--output", "json"]).env("WORKSPACE_ID", name).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let kept = bench.read(&format!("_lake/runs/{}/run.json", report["run_id"].as_str().unwrap())).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&kept).unwrap(), report);
        report
    };
    let report = run("a/b");
    let own = |tables: &[&str]| tables.iter().map(|table| format!("{table}/workspace_id=a%2Fb")).collect::<BTreeSet<_>>();
    assert_eq!(listed(&report, "bronze.posts", "partitions_written"), own(&["bronze/posts"]));
    assert_eq!(listed(&report, "silver.posts", "partitions_read"), own(&["bronze/posts", "silver/posts"]));
    assert_eq!(listed(&report, "silver.posts", "partitions_written"), own(&["silver/posts"]));
    assert_eq!(listed(&report, "gold.counts", "partitions_read"), own(&["silver/posts"]));
    assert_eq!(listed(&report, "gold.counts", "partitions_written"), own(&["gold/counts"]));
    let idle = run("a/b");
    for name in ["bronze.posts", "silver.posts", "gold.counts"] {
        assert_eq!(listed(&idle, name, "partitions_read"), BTreeSet::new());
        assert_eq!(listed(&idle, name, "partitions_written"), BTreeSet::new());
    }
}

everywhere!(
    rows_of_every_name_come_back_to_it_alone,
    a_name_that_cannot_be_is_refused_with_the_reason,
    a_run_of_one_workspace_leaves_the_proof_that_it_kept_to_it,
);
