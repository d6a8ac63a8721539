//! `merge_on_read`: rows that are marked as deleted instead of writing their files anew are gone for every reader that knows such marks.

use std::fs;
use std::path::Path;

use lake_tests::bench::{Bench, Place};
use lake_tests::binary::{assert_adds_up, table};
use lake_tests::python::{Reader, python};
use serde_json::{Value, json};

use crate::change::Project;

everywhere!(a_table_with_marks_is_what_one_without_is_whatever_is_done_to_it,);

/// Two tables that differ in how changes get in only, and the same query over each.
const TABLES: &str = "    select: { id: id, text: text, n: CAST(n AS BIGINT) }
    key: [id]
    sequence_by: n
    delete_when: op = 'D'
    merge_on_read: true
  plain:
    from: bronze.items
    select: { id: id, text: text, n: CAST(n AS BIGINT) }
    key: [id]
    sequence_by: n
    delete_when: op = 'D'
gold:
  marked:
    sql: SELECT text, count(*) AS items, sum(n) AS n FROM silver.items GROUP BY text
  unmarked:
    sql: SELECT text, count(*) AS items, sum(n) AS n FROM silver.plain GROUP BY text";

fn deliver(project: &Project, step: u64, ids: impl Iterator<Item = u64>) {
    let row = |id: u64| {
        let workspace = ["acme", "with space/ü"][(id % 2) as usize];
        let op = if step > 0 && (id + step).is_multiple_of(5) { "D" } else { "U" };
        json!({"ws": workspace, "id": id.to_string(), "n": step.to_string(), "op": op, "text": format!("text {}", id / 4)})
    };
    project.deliver(&format!("{step:03}.ndjson"), &ids.map(row).collect::<Vec<_>>());
}

/// Fails when a reader of the lake can tell the two tables apart.
fn assert_alike(project: &Project, place: &str) {
    for workspace in ["acme", "with space/ü"] {
        let ask = |sql: &str| project.bench.run(["query", sql, "--workspace", workspace, "--output", "json"]).succeeded().json();
        for (marked, plain, rest) in [
            ("silver.items", "silver.plain", "ORDER BY id"),
            ("silver.items", "silver.plain", "WHERE n = 0 AND id LIKE '%7' ORDER BY id"),
            ("gold.marked", "gold.unmarked", "ORDER BY text"),
        ] {
            let (marked, plain) = (ask(&format!("SELECT * FROM {marked} {rest}")), ask(&format!("SELECT * FROM {plain} {rest}")));
            assert_eq!(marked, plain, "{place}: {workspace} {rest}");
        }
        let counted = ask("SELECT (SELECT count(*) FROM silver.items) AS marked, (SELECT count(*) FROM silver.plain) AS plain");
        assert_eq!(counted[0]["marked"], counted[0]["plain"], "{place}: {counted}");
    }
    let status = project.bench.run(["status", "--output", "json"]).succeeded().json();
    let rows = |name: &str| status.as_array().unwrap().iter().find(|t| t["table"] == name).unwrap()["rows"].clone();
    assert_eq!(rows("silver.items"), rows("silver.plain"), "{place}");
}

fn a_table_with_marks_is_what_one_without_is_whatever_is_done_to_it(place: Place) {
    let project = Project::new(place, TABLES);
    let how = |report: &Value, name: &str| table(report, name)["strategy"].as_str().map(str::to_owned);
    deliver(&project, 0, 0..4000);
    assert_eq!(how(&project.run(), "silver.items").as_deref(), Some("append"));
    let mut marked = 0;
    for step in 1..6 {
        deliver(&project, step, (0..4000).filter(|id| (id + step) % 61 == 0));
        let report = project.run();
        assert_eq!(how(&report, "silver.plain").as_deref(), Some("merge"));
        if how(&report, "silver.items").as_deref() == Some("merge_on_read") {
            marked += 1;
            assert_eq!(how(&report, "gold.marked").as_deref(), Some("refresh"), "{report}");
        }
        let both = ["silver.items", "silver.plain"].map(|name| {
            let counts = ["rows_written", "rows_deleted", "rows_superseded"];
            counts.map(|count| table(&report, name)[count].as_u64().unwrap())
        });
        assert_eq!(both[0], both[1], "{report}");
        assert_alike(&project, &format!("after step {step}"));
    }
    assert!(marked >= 3, "{marked}");
    let unchanged = |report: Value| report["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged");
    assert!(unchanged(project.run()));

    // Back to a version with marks, and forth again.
    project.bench.run(["restore", "silver.items", "--to-version", "3"]).succeeded();
    project.run();
    assert_alike(&project, "after a restore");
    // What earlier versions need stays where it is asked to.
    project.bench.run(["vacuum", "silver.items"]).succeeded();
    project.bench.run(["restore", "silver.items", "--to-version", "2"]).succeeded();
    project.run();
    assert_alike(&project, "after a vacuum and a restore");
    project.bench.run(["vacuum", "silver.items", "--retention-hours", "0", "--allow-short-retention"]).succeeded();
    assert_alike(&project, "after a vacuum of all that is old");

    project.bench.run(["optimize", "silver.items"]).succeeded();
    assert_alike(&project, "after optimize");
    assert!(unchanged(project.run()));
    deliver(&project, 7, 0..30);
    project.run();
    assert_alike(&project, "after a change that followed");
    project.run_with(&["--full-refresh"]);
    assert_alike(&project, "after a full refresh");
    // A pipeline that asks for marks no more goes on with the table that has them.
    deliver(&project, 8, (0..4000).filter(|id| id % 19 == 0));
    project.run();
    project.define(&TABLES.replace("    merge_on_read: true\n", ""));
    deliver(&project, 9, (0..4000).filter(|id| id % 23 == 0));
    let report = project.run();
    assert_eq!(how(&report, "silver.items").as_deref(), Some("merge"));
    assert_alike(&project, "without leave to mark");
}

#[test]
fn spark_finds_in_a_table_with_marks_what_the_oracle_computes() {
    let bench = Bench::new();
    let (data, pipeline) = (bench.path("flights"), bench.path("flights.yaml"));
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/flights.yaml")).unwrap();
    fs::write(&pipeline, text.replace("    sequence_by: updated_at\n", "    sequence_by: updated_at\n    merge_on_read: true\n"))
        .unwrap();
    let bench = bench.with_env("FLIGHTS_DIR", &data).with_env("LAKE_CATALOG_FILE", "tests/pipelines/flights-catalog.json");
    fs::create_dir_all(&data).unwrap();
    let expected = bench.path("expected.json");
    for phase in ["base", "change"] {
        let arguments = ["--out", data.to_str().unwrap(), "--phase", phase, "--expected", expected.to_str().unwrap()];
        python().run("public_dataset.py", arguments).unwrap();
        let report = bench.run_pipeline(pipeline.to_str().unwrap());
        assert_adds_up(&report);
        let how = if phase == "base" { "append" } else { "merge_on_read" };
        assert_eq!(table(&report, "silver.flights")["strategy"], how);
    }
    python().compare(bench.location(), Reader::Spark, &expected, None).unwrap();
}
