//! What happens when the data or the pipeline changes between runs.

use std::fs;
use std::path::PathBuf;

use lake_tests::bench::{Bench, Place};
use lake_tests::binary::{assert_adds_up, table};
use serde_json::{Value, json};

everywhere!(
    without_a_sequence_a_rebuild_comes_to_what_the_runs_came_to,
    objects_that_gain_fields_go_on_through_bronze_silver_and_quarantine,
    a_changed_definition_rebuilds_the_table_and_what_reads_it,
    deletes_that_are_no_longer_asked_for_leave_nothing_behind,
    rows_on_which_a_condition_fails_are_kept_in_quarantine,
    items_of_a_list_that_do_not_fit_send_the_row_to_quarantine,
    very_many_workspaces_in_one_feed_end_in_few_files_each,
    a_file_that_cannot_be_read_to_its_end_is_not_taken_in_and_a_mended_one_is,
    delivered_columns_with_names_of_the_platform_are_kept,
    an_empty_selection_selects_nothing_and_says_so,
    a_broken_table_that_is_none_of_the_pipelines_does_not_stop_it,
    files_of_several_formats_come_into_one_table_each_by_its_name,
    a_feed_that_was_emptied_is_nothing_to_do_but_one_that_never_was_is_a_mistake,
);

/// A project of one pipeline and its feed, in a folder of its own.
pub(crate) struct Project {
    pub(crate) bench: Bench,
    pub(crate) feed: PathBuf,
    pub(crate) pipeline: PathBuf,
}

impl Project {
    pub(crate) fn new(place: Place, silver: &str) -> Self {
        let bench = Bench::on(place);
        let (feed, pipeline) = (bench.path("feed"), bench.path("pipeline.yaml"));
        fs::create_dir_all(&feed).unwrap();
        let project = Self { bench, feed, pipeline };
        project.define(silver);
        project
    }

    /// Writes the pipeline: a feed of NDJSON, and `silver.items` as given.
    pub(crate) fn define(&self, silver: &str) {
        let feed = self.feed.to_string_lossy();
        let text = format!(
            "name: change\nworkspace: {{ column: ws }}\nbronze:\n  items:\n    method: file_ingest\n    inputs: {{ path: \"{feed}/*.ndjson\", format: ndjson }}\nsilver:\n  items:\n    from: bronze.items\n{silver}\n"
        );
        fs::write(&self.pipeline, text).unwrap();
    }

    pub(crate) fn deliver(&self, file: &str, rows: &[Value]) {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs::write(self.feed.join(file), lines.join("\n") + "\n").unwrap();
    }

    pub(crate) fn run_with(&self, more: &[&str]) -> Value {
        let pipeline = self.pipeline.to_string_lossy().into_owned();
        let args: Vec<&str> = ["run", &pipeline, "--output", "json"].into_iter().chain(more.iter().copied()).collect();
        let report = self.bench.run(args).succeeded().json();
        assert_adds_up(&report);
        report
    }

    pub(crate) fn run(&self) -> Value {
        self.run_with(&[])
    }

    pub(crate) fn query(&self, sql: &str) -> Value {
        self.bench.run(["query", sql, "--workspace", "acme", "--output", "json"]).succeeded().json()
    }
}

const LATEST: &str = "    select: { id: id, text: text }\n    key: [id]\n    delete_when: op = 'D'";

fn item(id: u32, text: &str) -> Value {
    json!({"ws": "acme", "id": id.to_string(), "text": text, "op": "U"})
}

fn without_a_sequence_a_rebuild_comes_to_what_the_runs_came_to(place: Place) {
    let project = Project::new(place, LATEST);
    for run in 0..6 {
        let mut rows: Vec<Value> = (0..5).map(|id| item(id, &format!("run {run}"))).collect();
        rows.push(json!({"ws": "acme", "id": "9", "op": if run == 4 { "D" } else { "U" }, "text": format!("run {run}")}));
        if run == 5 {
            rows.truncate(5);
        }
        project.deliver(&format!("{run}.ndjson"), &rows);
        project.run();
    }
    let sql = "SELECT id, text FROM silver.items ORDER BY id";
    let before = project.query(sql);
    assert_eq!(before.as_array().unwrap().len(), 5, "{before}");
    assert!(before.as_array().unwrap().iter().all(|r| r["text"] == "run 5"), "{before}");
    project.run_with(&["--full-refresh"]);
    assert_eq!(project.query(sql), before);
    project.bench.run(["optimize", "bronze.items"]).succeeded();
    project.run_with(&["--full-refresh"]);
    assert_eq!(project.query(sql), before);
    project.deliver("6.ndjson", &[item(0, "run 6")]);
    project.run();
    assert_eq!(project.query("SELECT text FROM silver.items WHERE id = '0'"), json!([{"text": "run 6"}]));
}

fn objects_that_gain_fields_go_on_through_bronze_silver_and_quarantine(place: Place) {
    let silver = "    select: { id: id, name: user.name }\n    key: [id]\n    expect:\n      named: { check: name IS NOT NULL, otherwise: quarantine }";
    let project = Project::new(place, silver);
    let first = [
        json!({"ws": "acme", "id": "1", "user": {"name": "Ann"}}),
        json!({"ws": "acme", "id": "2", "user": {"name": null}}),
        json!({"id": "3", "user": {"name": "x"}}),
    ];
    project.deliver("1.ndjson", &first);
    project.run();
    let second = [
        json!({"ws": "acme", "id": "4", "user": {"age": 7, "name": "Bo"}}),
        json!({"ws": "acme", "id": "5", "user": {"age": 8}}),
        json!({"id": "6", "user": {"age": 9}, "extra": [1, 2]}),
    ];
    project.deliver("2.ndjson", &second);
    let report = project.run();
    assert_eq!(table(&report, "silver.items")["rows_quarantined"], 1);
    assert_eq!(table(&report, "bronze.items")["rows_quarantined"], 1);
    assert_eq!(
        project.query("SELECT id, name FROM silver.items ORDER BY id"),
        json!([{"id": "1", "name": "Ann"}, {"id": "4", "name": "Bo"}])
    );
    let kept = project.query("SELECT id, \"user\".age AS age FROM silver.items_quarantine ORDER BY id");
    assert_eq!(kept, json!([{"id": "2", "age": null}, {"id": "5", "age": "8"}]));
}

fn a_changed_definition_rebuilds_the_table_and_what_reads_it(place: Place) {
    let project = Project::new(place, "    select: { id: id, text: text }\n    key: [id]\n    sequence_by: id");
    project.deliver("1.ndjson", &[item(1, "10"), item(2, "20")]);
    project.run();
    project.define("    select: { id: CAST(id AS BIGINT), number: CAST(text AS INT) }\n    key: [id]\n    sequence_by: id");
    let report = project.run();
    assert_eq!(table(&report, "silver.items")["strategy"], "replace");
    assert_eq!(project.query("SELECT sum(number) AS n FROM silver.items"), json!([{"n": 30}]));
    assert_eq!(table(&project.run(), "silver.items")["status"], "unchanged");
}

fn deletes_that_are_no_longer_asked_for_leave_nothing_behind(place: Place) {
    let with = "    select: { id: id, at: at }\n    key: [id]\n    sequence_by: at\n    delete_when: op = 'D'";
    let project = Project::new(place, with);
    let event = |id: &str, at: u32, op: &str| json!({"ws": "acme", "id": id, "at": at.to_string(), "op": op});
    project.deliver("1.ndjson", &[event("1", 5, "D"), event("2", 1, "U")]);
    project.run();
    project.define("    select: { item: id, at: at }\n    where: op <> 'D'\n    key: [item]\n    sequence_by: at");
    project.run();
    project.deliver("2.ndjson", &[event("1", 3, "U")]);
    project.run();
    assert_eq!(project.query("SELECT item FROM silver.items ORDER BY item"), json!([{"item": "1"}, {"item": "2"}]));
}

fn rows_on_which_a_condition_fails_are_kept_in_quarantine(place: Place) {
    let silver = "    select: { id: id }\n    where: CAST(n AS INT) > 0\n    key: [id]\n    sequence_by: CAST(at AS TIMESTAMP)\n    delete_when: CAST(gone AS BOOLEAN)";
    let project = Project::new(place, silver);
    let row = |id: &str, n: &str, at: &str, gone: &str| json!({"ws": "acme", "id": id, "n": n, "at": at, "gone": gone});
    let good = "2026-01-01T00:00:00Z";
    let rows = [
        row("1", "1", good, "false"),
        row("2", "x", good, "false"),
        row("3", "1", "soon", "false"),
        row("4", "1", good, "maybe"),
        row("5", "0", good, "false"),
    ];
    project.deliver("1.ndjson", &rows);
    let report = project.run();
    let silver = table(&report, "silver.items");
    let counts = ["rows_written", "rows_dropped", "rows_quarantined"].map(|c| silver[c].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 3], "{silver}");
}

fn items_of_a_list_that_do_not_fit_send_the_row_to_quarantine(place: Place) {
    let project = Project::new(place, "    select: { id: id, sizes: \"CAST(sizes AS BIGINT[])\" }\n    key: [id]");
    let rows = [json!({"ws": "acme", "id": "1", "sizes": ["1", "2"]}), json!({"ws": "acme", "id": "2", "sizes": ["1", "x"]})];
    project.deliver("1.ndjson", &rows);
    let report = project.run();
    assert_eq!(table(&report, "silver.items")["rows_quarantined"], 1, "{report}");
}

fn very_many_workspaces_in_one_feed_end_in_few_files_each(place: Place) {
    let project = Project::new(place, "    select: { id: id }\n    key: [id]");
    let rows: Vec<Value> = (0..30_000).map(|i| json!({"ws": format!("w{}", (i * 7919) % 600), "id": i.to_string()})).collect();
    project.deliver("1.ndjson", &rows);
    let report = project.run();
    for name in ["bronze.items", "silver.items"] {
        let files = table(&report, name)["files_written"].as_u64().unwrap();
        assert!(files <= 1_200, "{name}: {files} files for 600 workspaces");
        assert_eq!(table(&report, name)["rows_written"], 30_000);
    }
}

fn a_file_that_cannot_be_read_to_its_end_is_not_taken_in_and_a_mended_one_is(place: Place) {
    let project = Project::new(place, "    select: { id: id }\n    key: [id]");
    project.deliver("1.ndjson", &[item(1, "a")]);
    // The magic bytes of gzip and nothing that can be unpacked.
    fs::write(project.feed.join("2.ndjson"), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]).unwrap();
    let pipeline = project.pipeline.to_string_lossy().into_owned();
    let failed = project.bench.run(["run", &pipeline]);
    assert!(matches!(failed.code(), 1 | 2), "{}", failed.stderr());
    assert!(failed.stderr().contains("2.ndjson"), "{}", failed.stderr());
    project.deliver("2.ndjson", &[item(2, "b")]);
    project.run();
    assert_eq!(project.query("SELECT id FROM silver.items ORDER BY id"), json!([{"id": "1"}, {"id": "2"}]));
}

fn delivered_columns_with_names_of_the_platform_are_kept(place: Place) {
    let project = Project::new(place, "    select: { id: id, s: raw__source }\n    key: [id]");
    project.deliver("1.ndjson", &[json!({"ws": "acme", "id": "1", "_source": "feed A", "_run_id": "77"})]);
    project.run();
    assert_eq!(project.query("SELECT id, s FROM silver.items"), json!([{"id": "1", "s": "feed A"}]));
    assert_eq!(project.query("SELECT raw__run_id AS r FROM bronze.items"), json!([{"r": "77"}]));
}

fn an_empty_selection_selects_nothing_and_says_so(place: Place) {
    let project = Project::new(place, "    select: { id: id }\n    key: [id]");
    project.deliver("1.ndjson", &[item(1, "a")]);
    let pipeline = project.pipeline.to_string_lossy().into_owned();
    assert_eq!(project.bench.run(["run", &pipeline, "--select", ""]).code(), 2);
    assert_eq!(project.bench.files().len(), 0);
}

fn a_broken_table_that_is_none_of_the_pipelines_does_not_stop_it(place: Place) {
    let project = Project::new(place, "    select: { id: id }\n    key: [id]");
    project.deliver("1.ndjson", &[item(1, "a")]);
    project.bench.write("gold/x/_delta_log/00000000000000000000.json", b"{bad");
    project.run();
    assert!(project.bench.run(["status"]).succeeded().stdout().contains("silver.items"));
}

/// Lets the pipeline read all of the feed's folder, by the names of its files.
fn read_the_folder(project: &Project) {
    let text = fs::read_to_string(&project.pipeline).unwrap();
    fs::write(&project.pipeline, text.replace("/*.ndjson", "").replace(", format: ndjson", "")).unwrap();
}

fn files_of_several_formats_come_into_one_table_each_by_its_name(place: Place) {
    let project = Project::new(place, LATEST);
    read_the_folder(&project);
    fs::write(project.feed.join("1.csv"), "ws,id,text,op\nacme,1,\"one, in CSV\",U\nacme,2,,U\n").unwrap();
    project.deliver("2.ndjson", &[item(2, "two"), item(3, "three")]);
    fs::write(project.feed.join("3.json"), json!([item(3, "third")]).to_string()).unwrap();
    fs::write(project.feed.join("4.tsv"), "ws\tid\ttext\top\nacme\t4\tfour\tU\n").unwrap();
    let report = project.run();
    assert_eq!(table(&report, "bronze.items")["files_read"], 4, "{report}");
    let items = project.query("SELECT id, text FROM silver.items ORDER BY id");
    let expected = [("1", "one, in CSV"), ("2", "two"), ("3", "third"), ("4", "four")];
    assert_eq!(items, json!(expected.map(|(id, text)| json!({"id": id, "text": text}))));
    for (file, content, why) in
        [("5.parquet", "PAR1", "error[mixed-formats]: `"), ("5.txt", "x", "5.txt` does not tell its format")]
    {
        fs::write(project.feed.join(file), content).unwrap();
        let text = fs::read_to_string(&project.pipeline).unwrap();
        fs::write(&project.pipeline, text.replace("feed\" }", "feed/*\" }")).unwrap();
        let refused = project.bench.run(["validate", &project.pipeline.to_string_lossy()]);
        assert_eq!(refused.code(), 2, "{}", refused.stderr());
        assert!(refused.stderr().contains(why), "{}", refused.stderr());
        fs::remove_file(project.feed.join(file)).unwrap();
    }
}

fn a_feed_that_was_emptied_is_nothing_to_do_but_one_that_never_was_is_a_mistake(place: Place) {
    let project = Project::new(place, LATEST);
    read_the_folder(&project);
    let pipeline = project.pipeline.to_string_lossy().into_owned();
    let refused = project.bench.run(["run", &pipeline]);
    assert_eq!(refused.code(), 2, "{}", refused.said());
    assert!(refused.stderr().contains("error[no-source]: no file below"), "{}", refused.stderr());
    project.deliver("1.ndjson", &[item(1, "one")]);
    project.run();
    fs::remove_file(project.feed.join("1.ndjson")).unwrap();
    let report = project.run();
    assert!(report["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{report}");
    let said = project.bench.run(["run", &pipeline]).succeeded().said();
    assert!(said.contains("warning[no-source]: no file below"), "{said}");
    project.deliver("2.ndjson", &[item(2, "two")]);
    project.run();
    assert_eq!(project.query("SELECT count(*) AS n FROM silver.items"), json!([{"n": 2}]));
}
