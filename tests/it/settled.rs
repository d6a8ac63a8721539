//! A run with nothing to do is answered by what the last one left, and only then.

use std::fs;

use lake_tests::bench::Place;
use lake_tests::binary::table;
use serde_json::{Value, json};

use crate::change::Project;

everywhere!(a_run_with_nothing_to_do_opens_no_table_and_any_change_is_noticed,);

const TABLES: &str = "    select: { id: id, text: text }
    key: [id]
gold:
  counts:
    sql: SELECT count(*) AS items FROM silver.items WHERE text <> '${LEFT_OUT:-none}'";

const LOG: &str = "bronze/items/_delta_log/00000000000000000000.json";

fn unchanged(report: &Value) -> bool {
    report["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged")
}

fn item(id: u32, text: &str) -> Value {
    json!({"ws": "acme", "id": id.to_string(), "text": text})
}

fn counted(project: &Project) -> Value {
    project.query("SELECT items FROM gold.counts")[0]["items"].clone()
}

fn a_run_with_nothing_to_do_opens_no_table_and_any_change_is_noticed(place: Place) {
    let project = Project::new(place, TABLES);
    project.deliver("1.ndjson", &[item(1, "a"), item(2, "b")]);
    let first = project.run();
    assert_eq!(counted(&project), 2);
    let again = project.run();
    assert!(unchanged(&again), "{again}");
    for (name, of) in [("bronze.items", 1), ("silver.items", 1), ("gold.counts", 1)] {
        assert_eq!((&table(&again, name)["version_from"], &table(&again, name)["version_to"]), (&json!(of), &json!(of)));
    }
    assert_eq!((&again["workspaces"], &again["status"]), (&first["workspaces"], &json!("succeeded")));
    assert_ne!(again["run_id"], first["run_id"]);
    let kept = project.bench.read(&format!("_lake/runs/{}/run.json", again["run_id"].as_str().unwrap())).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&kept).unwrap(), again);
    if place == Place::Disk {
        // A table that was opened could not be read.
        let log = project.bench.lake().join(LOG);
        let text = fs::read(&log).unwrap();
        fs::write(&log, "no log").unwrap();
        assert!(unchanged(&project.run()));
        let touched = project.pipeline.to_string_lossy().into_owned();
        assert_ne!(project.bench.run(["run", &touched, "--full-refresh"]).code(), 0);
        fs::write(&log, text).unwrap();
    }

    project.deliver("2.ndjson", &[item(3, "c")]);
    assert_eq!(table(&project.run(), "bronze.items")["rows_read"], 1);
    assert_eq!(counted(&project), 3);
    // Another file of the same name and size.
    project.deliver("2.ndjson", &[item(4, "d")]);
    assert_eq!(table(&project.run(), "bronze.items")["rows_read"], 1);
    assert_eq!(counted(&project), 4);
    // Another value of a variable, and the first one again.
    let pipeline = project.pipeline.to_string_lossy().into_owned();
    let with = |left_out: &str| {
        let mut command = project.bench.command(["run", &pipeline, "--output", "json"]);
        let output = command.env("LEFT_OUT", left_out).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(table(&with("a"), "gold.counts")["status"], "written");
    assert_eq!(counted(&project), 3);
    assert!(unchanged(&with("a")));
    assert_eq!(table(&project.run(), "gold.counts")["status"], "written");
    assert_eq!(counted(&project), 4);
    // Another definition.
    project.define(&TABLES.replace("count(*)", "count(*) + 100"));
    assert_eq!(table(&project.run(), "gold.counts")["status"], "written");
    assert_eq!(counted(&project), 104);
    // What others do to a table.
    assert!(unchanged(&project.run()));
    project.bench.run(["restore", "silver.items", "--to-version", "1"]).succeeded();
    assert_eq!(table(&project.run(), "silver.items")["status"], "written");
    assert_eq!(counted(&project), 104);
    assert!(unchanged(&project.run()));
    // A run of one table knows nothing of the others.
    assert!(unchanged(&project.run_with(&["--select", "gold.counts"])));
    project.deliver("3.ndjson", &[item(5, "e")]);
    assert!(unchanged(&project.run_with(&["--select", "gold.counts"])));
    assert!(!unchanged(&project.run()));
    assert_eq!(counted(&project), 105);
}
