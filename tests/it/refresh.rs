//! Gold tables are refreshed by the groups that a change touches, and are then what a full computation makes of them.

use std::fs;

use lake_tests::bench::{Bench, Place};
use lake_tests::binary::{assert_adds_up, table};
use serde_json::{Value, json};

everywhere!(only_the_groups_of_changed_rows_are_computed_again, many_workspaces_of_a_feed_are_served_together);

const SILVER_AND_GOLD: &str = "silver:
  items:
    from: bronze.items
    select: { id: id, brand: brand, day: CAST(day AS BIGINT), amount: CAST(amount AS BIGINT) }
    key: [id]
    sequence_by: at
    delete_when: op = 'D'
gold:
  by_brand:
    sql: SELECT brand, day / 7 AS week, count(*) AS n, sum(amount) AS total FROM silver.items GROUP BY brand, day / 7
  best:
    sql: |
      SELECT brand, id, amount FROM (
        SELECT brand, id, amount, row_number() OVER (PARTITION BY brand ORDER BY amount DESC, id) AS place FROM silver.items
      ) WHERE place <= 2
  compared:
    sql: SELECT i.id, i.amount, b.n FROM silver.items i LEFT JOIN gold.by_brand b ON i.brand = b.brand AND i.day / 7 = b.week WHERE i.amount > 90
  totals:
    sql: SELECT count(*) AS n, sum(amount) AS total FROM silver.items
";

const TABLES: [&str; 4] = ["by_brand", "best", "compared", "totals"];

struct Project {
    bench: Bench,
    delivered: std::cell::Cell<usize>,
}

impl Project {
    fn new(place: Place) -> Self {
        let bench = Bench::on(place);
        let feed = bench.path("feed");
        fs::create_dir_all(&feed).unwrap();
        let bronze = format!(
            "bronze:\n  items:\n    method: file_ingest\n    inputs: {{ path: \"{}/*.ndjson\", format: ndjson }}\n",
            feed.to_string_lossy()
        );
        let text = format!("name: refresh\nworkspace: {{ column: ws }}\n{bronze}{SILVER_AND_GOLD}");
        fs::write(bench.path("pipeline.yaml"), text).unwrap();
        Self { bench, delivered: 0.into() }
    }

    fn deliver(&self, rows: &[Value]) {
        let number = self.delivered.replace(self.delivered.get() + 1);
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs::write(self.bench.path("feed").join(format!("{number:03}.ndjson")), lines.join("\n") + "\n").unwrap();
    }

    fn run(&self, more: &[&str]) -> Value {
        let pipeline = self.bench.path("pipeline.yaml").to_string_lossy().into_owned();
        let args: Vec<&str> = ["run", &pipeline, "--output", "json"].into_iter().chain(more.iter().copied()).collect();
        let report = self.bench.run(args).succeeded().json();
        assert_adds_up(&report);
        report
    }

    fn rows(&self, workspace: &str) -> Vec<Value> {
        let read = |name: &str| {
            let sql = format!("SELECT * FROM gold.{name} ORDER BY 1, 2");
            self.bench.run(["query", &sql, "--workspace", workspace, "--output", "json"]).succeeded().json()
        };
        TABLES.map(read).to_vec()
    }
}

fn item(workspace: &str, id: usize, brand: usize, at: usize, op: &str) -> Value {
    let (amount, day) = (id * 7919 % 100, id % 14);
    json!({
        "ws": workspace, "id": format!("{id:05}"), "brand": format!("b{brand:03}"), "day": day.to_string(), "amount": amount.to_string(),
        "at": format!("{at:05}"), "op": op,
    })
}

fn only_the_groups_of_changed_rows_are_computed_again(place: Place) {
    let project = Project::new(place);
    // Each delivery is of brands of its own, so that a later change rewrites one of many files.
    for delivery in 0..12 {
        let ids = delivery * 300..(delivery + 1) * 300;
        let rows: Vec<Value> = ids.map(|id| item("acme", id, delivery * 10 + id % 10, 0, "U")).collect();
        project.deliver(&rows);
        project.run(&[]);
    }
    // A brand vanishes, one comes, and a row gets another brand.
    let mut rows: Vec<Value> = (600..900).filter(|id| id % 10 == 3).map(|id| item("acme", id, 23, 1, "D")).collect();
    rows.extend([item("acme", 99_999, 500, 1, "U"), item("acme", 604, 25, 1, "U")]);
    project.deliver(&rows);
    project.run(&["--select", "+silver.items"]);
    let pipeline = project.bench.path("pipeline.yaml").to_string_lossy().into_owned();
    let planned = project.bench.run(["plan", &pipeline, "--output", "json"]).succeeded().json();
    let action =
        |name: &str| planned["tables"].as_array().unwrap().iter().find(|t| t["table"] == name).unwrap()["action"].clone();
    assert_eq!([action("gold.by_brand"), action("gold.totals")], [json!("refresh"), json!("replace")], "{planned}");
    let report = project.run(&[]);
    for (name, strategy, reason) in [
        ("by_brand", "refresh", "groups of brand, week"),
        ("best", "refresh", "groups of brand"),
        ("compared", "replace", "much of `gold.by_brand` changed"),
        ("totals", "replace", "no column"),
    ] {
        let told = table(&report, &format!("gold.{name}"));
        assert_eq!(told["strategy"], strategy, "{told}");
        assert!(told["reason"].as_str().unwrap().contains(reason), "{told}");
    }
    // Of 120 brands those of one file are computed again.
    assert!(table(&report, "gold.by_brand")["rows_written"].as_u64().unwrap() < 30, "{report}");
    let refreshed = project.rows("acme");
    assert!(!refreshed[0].to_string().contains("b023") && refreshed[0].to_string().contains("b500"));
    let again = project.run(&[]);
    assert_eq!(table(&again, "gold.by_brand")["status"], "unchanged");
    let full = project.run(&["--full-refresh"]);
    assert_eq!(table(&full, "gold.by_brand")["strategy"], "replace");
    assert_eq!(project.rows("acme"), refreshed);
    // Most of the input changes: following that would cost more than to compute anew.
    let rows: Vec<Value> = (0..3600).map(|id| item("acme", id, id % 120, 2, "U")).collect();
    project.deliver(&rows);
    let report = project.run(&[]);
    let told = table(&report, "gold.by_brand");
    assert_eq!((&told["strategy"], &told["reason"]), (&json!("replace"), &json!("much of `silver.items` changed")));
}

fn many_workspaces_of_a_feed_are_served_together(place: Place) {
    let project = Project::new(place);
    let names: Vec<String> = (0..12).map(|n| format!("w{n}")).collect();
    for delivery in 0..12 {
        let ids = delivery * 60..(delivery + 1) * 60;
        let rows = names.iter().flat_map(|w| ids.clone().map(move |id| item(w, id, delivery * 5 + id % 5, 0, "U")));
        project.deliver(&rows.collect::<Vec<_>>());
        project.run(&[]);
    }
    let rows: Vec<Value> =
        names.iter().enumerate().map(|(n, w)| item(w, 60 + n, 7, 1, if n % 2 == 0 { "D" } else { "U" })).collect();
    project.deliver(&rows);
    let report = project.run(&[]);
    assert_eq!(table(&report, "gold.by_brand")["strategy"], "refresh", "{report}");
    assert_eq!(table(&report, "gold.best")["strategy"], "refresh", "{report}");
    let some = [&names[0], &names[1], &names[11]];
    let refreshed = some.map(|name| project.rows(name));
    project.run(&["--full-refresh"]);
    assert_eq!(some.map(|name| project.rows(name)), refreshed);
    for (name, refreshed) in some.into_iter().zip(&refreshed) {
        project.run(&["--full-refresh", "--workspace", name]);
        assert_eq!(&project.rows(name), refreshed, "{name}");
    }
}
