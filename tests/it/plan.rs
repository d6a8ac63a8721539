//! What `lake plan` foretells, beside what the run then did.

use std::fs;
use std::path::Path;

use lake_tests::bench::Place;
use lake_tests::binary::table;
use serde_json::{Value, json};

use crate::change::Project;

/// A keyed table with deletes, one that keeps every row, and gold with and without groups.
const TABLES: &str = "    select: { id: id, brand: brand, n: CAST(n AS BIGINT) }
    key: [id]
    sequence_by: n
    delete_when: op = 'D'
  kept:
    from: bronze.items
    select: { id: id, n: CAST(n AS BIGINT) }
gold:
  by_brand:
    sql: SELECT brand, count(*) AS items, sum(n) AS n FROM silver.items GROUP BY brand
  totals:
    sql: SELECT count(*) AS items, (SELECT count(*) FROM silver.kept) AS kept FROM silver.items";

const NAMES: [&str; 5] = ["bronze.items", "silver.items", "silver.kept", "gold.by_brand", "gold.totals"];

/// Each has its truth in the run's report under the same name.
const NUMBERS: [&str; 10] = [
    "files_read",
    "bytes_read",
    "input_rows",
    "files_rewritten",
    "bytes_rewritten",
    "rows_rewritten",
    "files_written",
    "bytes_written",
    "rows_written",
    "peak_memory_bytes",
];

fn item(workspace: &str, id: u32, n: u32, op: &str) -> Value {
    json!({"ws": workspace, "id": id.to_string(), "brand": format!("b{}", id % 20), "n": n.to_string(), "op": op})
}

fn planned(project: &Project, more: &[&str]) -> Value {
    let pipeline = project.pipeline.to_string_lossy().into_owned();
    let before = project.bench.table_files();
    let args: Vec<&str> = ["plan", &pipeline, "--output", "json"].into_iter().chain(more.iter().copied()).collect();
    let plan = project.bench.run(args).succeeded().json();
    assert_eq!(project.bench.table_files(), before, "a plan writes nothing");
    plan
}

/// The numbers of a table's plan that hold in `truth` as they promise: exact ones are equal, bounds are not exceeded.
fn kept(plan: &Value, truth: &Value) -> Vec<&'static str> {
    let promised = |number: &&str| ["exact", "at_most"].iter().any(|c| plan[*number]["certainty"] == *c);
    let kept: Vec<&str> = NUMBERS.into_iter().filter(promised).collect();
    for number in &kept {
        let (told, found) = (plan[number]["value"].as_u64().unwrap(), truth[number].as_u64());
        let holds = if plan[number]["certainty"] == "exact" { found == Some(told) } else { found.is_some_and(|f| f <= told) };
        assert!(holds, "{}: {number} was to be {}, and is {found:?}", plan["table"], plan[number]);
    }
    kept
}

/// Plans and runs; what both foretold must hold. Gives the plan and the report.
fn plan_and_run(project: &Project) -> (Value, Value) {
    plan_and_run_with(project, &[])
}

fn plan_and_run_with(project: &Project, more: &[&str]) -> (Value, Value) {
    // A limit, so that there is a bound for memory.
    let args = [&["--memory", "1GiB"], more].concat();
    let (plan, report) = (planned(project, &args), project.run_with(&args));
    for name in NAMES {
        let truth = table(&report, name);
        kept(table(&plan, name), truth);
        if truth["status"] == "unchanged" {
            assert_eq!((&table(&plan, name)["action"], &truth["plan"]), (&json!("none"), &Value::Null), "{name}");
        } else {
            // With all inputs known, what is read and what goes is promised.
            let kept = kept(&truth["plan"], truth);
            let unknown = |number: &str| name == "bronze.items" && number == "input_rows";
            let missing = NUMBERS[..6].iter().find(|number| !(kept.contains(number) || unknown(number)));
            assert_eq!(missing, None, "{name}: {}", truth["plan"]);
            assert!(kept.contains(&"peak_memory_bytes"), "{name}");
        }
    }
    (plan, report)
}

/// The number and bytes of the data files below a folder.
fn data_files(folder: &Path) -> (u64, u64) {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.fold((0, 0), |(files, bytes), path| match path.is_dir() {
        true => {
            let (more, their) = data_files(&path);
            (files + more, bytes + their)
        }
        false if path.extension().is_some_and(|e| e == "parquet") && !path.to_string_lossy().contains("_delta_log") => {
            (files + 1, bytes + fs::metadata(&path).unwrap().len())
        }
        false => (files, bytes),
    })
}

fn exact(number: &Value) -> u64 {
    assert_eq!(number["certainty"], "exact", "{number}");
    number["value"].as_u64().unwrap()
}

fn project() -> Project {
    let project = Project::new(Place::Disk, TABLES);
    let rows = |workspace: &str| (0..400).map(|id| item(workspace, id, id, "U")).collect::<Vec<_>>();
    project.deliver("1.ndjson", &[rows("acme"), rows("globex")].concat());
    project
}

#[test]
fn a_first_build_is_foretold() {
    let project = project();
    let (plan, report) = plan_and_run(&project);
    let bronze = table(&plan, "bronze.items");
    assert_eq!(exact(&bronze["bytes_read"]), fs::metadata(project.feed.join("1.ndjson")).unwrap().len());
    for name in NAMES {
        assert_eq!(table(&plan, name)["action"], "build");
        assert_eq!(exact(&table(&plan, name)["files_rewritten"]), 0);
    }
    // What nobody knows is null.
    assert_eq!(table(&plan, "silver.items")["input_rows"], Value::Null);
    let stored = data_files(&project.bench.lake().join("bronze/items"));
    let silver = &table(&report, "silver.items")["plan"];
    assert_eq!((exact(&silver["files_read"]), exact(&silver["bytes_read"])), stored);
    assert_eq!(exact(&silver["input_rows"]), 800);
    let gold = &table(&report, "gold.by_brand")["plan"];
    assert_eq!((exact(&gold["files_read"]), exact(&gold["bytes_read"])), data_files(&project.bench.lake().join("silver/items")));
}

#[test]
fn a_new_file_and_then_nothing_is_foretold() {
    let project = project();
    project.run();
    let rows: Vec<Value> = (0..60).map(|id| item("acme", id * 5, 10_000 + id, if id % 7 == 0 { "D" } else { "U" })).collect();
    project.deliver("2.ndjson", &rows);
    let (plan, report) = plan_and_run(&project);
    let actions: Vec<&Value> = NAMES.iter().map(|name| &table(&plan, name)["action"]).collect();
    assert_eq!(actions, ["append", "merge", "append", "refresh", "replace"]);
    // Nobody has read the file, so its rows are told by those that came before.
    let rows = &table(&plan, "bronze.items")["input_rows"];
    assert_eq!(rows["certainty"], "estimate");
    assert!((40..90).contains(&rows["value"].as_u64().unwrap()), "{rows}");
    assert_eq!(&table(&plan, "silver.items")["input_rows"], rows);
    // Of two files that the merge could rewrite when nothing was read, one is of the workspace that changed.
    assert_eq!(table(&plan, "silver.items")["files_rewritten"], json!({"certainty": "at_most", "value": 2}));
    let silver = table(&report, "silver.items");
    assert_eq!(silver["plan"]["files_rewritten"], json!({"certainty": "at_most", "value": 1}));
    assert_eq!((&silver["files_rewritten"], &silver["rows_rewritten"]), (&json!(1), &json!(400)));
    assert_eq!(silver["plan"]["bytes_rewritten"]["value"], silver["bytes_rewritten"]);
    assert_eq!(exact(&silver["plan"]["input_rows"]), 60);

    let (plan, report) = plan_and_run(&project);
    for name in NAMES {
        assert_eq!((&table(&plan, name)["action"], &table(&report, name)["status"]), (&json!("none"), &json!("unchanged")));
        assert!(NUMBERS[..9].iter().all(|number| exact(&table(&plan, name)[number]) == 0), "{plan}");
    }
}

#[test]
fn a_changed_definition_is_foretold() {
    let project = project();
    project.run();
    project.define(&TABLES.replace("sum(n) AS n", "max(n) AS n"));
    let (plan, _) = plan_and_run(&project);
    let gold = table(&plan, "gold.by_brand");
    assert_eq!(gold["action"], "replace");
    assert_eq!((exact(&gold["files_read"]), exact(&gold["bytes_read"])), data_files(&project.bench.lake().join("silver/items")));
    assert_eq!((exact(&gold["files_rewritten"]), exact(&gold["rows_rewritten"])), (2, 40));

    project.define(&TABLES.replace("brand: brand", "brand: upper(brand)"));
    let (plan, report) = plan_and_run(&project);
    let silver = table(&plan, "silver.items");
    assert_eq!((&silver["action"], &silver["reason"]), (&json!("replace"), &json!("its definition changed")));
    assert_eq!([&silver["input_rows"], &silver["rows_rewritten"]].map(exact), [800, 800]);
    assert_eq!(table(&plan, "gold.by_brand")["bytes_read"]["certainty"], "estimate");
    assert_eq!(exact(&table(&report, "gold.by_brand")["plan"]["rows_rewritten"]), 40);
}

#[test]
fn a_run_of_one_workspace_is_foretold_without_the_others() {
    let project = project();
    let (_, report) = plan_and_run_with(&project, &["--workspace", "acme"]);
    assert_eq!(exact(&table(&report, "silver.items")["plan"]["input_rows"]), 400);
    project.deliver("2.ndjson", &[item("acme", 1, 1_000, "U"), item("globex", 1, 1_000, "U")]);
    plan_and_run_with(&project, &["--workspace", "acme"]);
    // The others' rows are taken in by a run of the feed.
    let (plan, _) = plan_and_run(&project);
    assert_eq!(exact(&table(&plan, "bronze.items")["files_read"]), 2);
}

#[test]
fn a_small_change_is_foretold_by_what_it_reads_at_most() {
    let project = project();
    // Each delivery is of brands of its own, in a file of its own.
    for delivery in 0..12 {
        let ids = delivery * 1_000..(delivery + 1) * 1_000;
        let row =
            |id: u32| json!({"ws": "acme", "id": id.to_string(), "brand": format!("b{}", id / 50), "n": "20000", "op": "U"});
        project.deliver(&format!("more{delivery}.ndjson"), &ids.map(row).collect::<Vec<_>>());
        project.run();
    }
    project.deliver("few.ndjson", &[json!({"ws": "acme", "id": "5", "brand": "b0", "n": "30000", "op": "U"})]);
    let (_, report) = plan_and_run(&project);
    let gold = table(&report, "gold.by_brand");
    assert_eq!((&gold["strategy"], &gold["plan"]["action"]), (&json!("refresh"), &json!("refresh")), "{gold}");
    assert_eq!(gold["plan"]["files_read"]["certainty"], "at_most");
    let silver = table(&report, "silver.items");
    let (most, found) = (silver["plan"]["files_rewritten"]["value"].as_u64(), silver["files_rewritten"].as_u64());
    assert!(most > found && found == Some(1), "{silver}");
}
