//! Vectors and graph in step with the tables: in the lake's own tables, in Qdrant and in Neo4j.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lake_tests::bench::Bench;
use lake_tests::binary::{Finished, assert_adds_up, table};
use lake_tests::packages::{self, Package};
use lake_tests::servers::{Embeddings, Neo4j, Qdrant};
use serde_json::Value;

const PIPELINE: &str = "tests/pipelines/packages.yaml";
const WORKSPACES: [&str; 2] = ["even", "odd"];

/// A lake, a feed, and what of the index is in it.
struct Feed {
    bench: Bench,
    now: BTreeMap<String, Package>,
    step: i64,
}

impl Feed {
    fn new(packages: usize) -> Self {
        let bench = Bench::new();
        let folder = bench.path("feed");
        std::fs::create_dir_all(&folder).unwrap();
        let bench = bench.with_env("FEED_DIR", &folder);
        let mut feed = Self { bench, now: packages::index(packages), step: 0 };
        let all: Vec<&Package> = feed.now.values().collect();
        packages::feed(&folder.join("000.ndjson"), 0, &all, &[]);
        feed.step = 1;
        feed
    }

    fn with_env(mut self, name: &str, value: &str) -> Self {
        self.bench = self.bench.with_env(name, value);
        self
    }

    /// Updates one package of `update` and takes one of `delete` away, beginning with another each time.
    fn change(&mut self, update: usize, delete: usize) -> (usize, usize) {
        let step = usize::try_from(self.step).unwrap();
        let gone: Vec<String> = self.now.keys().skip(step % delete).step_by(delete).cloned().collect();
        gone.iter().for_each(|name| drop(self.now.remove(name)));
        let mut changed = vec![];
        for p in self.now.values_mut().skip(step % update).step_by(update) {
            p.description = format!("{} ({step})", p.description);
            p.version = format!("{}+{step}", p.version);
            changed.push(p.clone());
        }
        let file = self.bench.path("feed").join(format!("{step:03}.ndjson"));
        packages::feed(&file, self.step, &changed.iter().collect::<Vec<_>>(), &gone);
        self.step += 1;
        (changed.len(), gone.len())
    }

    fn points(&self) -> u64 {
        self.now.values().filter(|p| packages::has_vector(p)).count() as u64
    }

    fn assert_tables_are_right(&self) {
        for workspace in WORKSPACES {
            let expected = packages::expected(&self.now, workspace);
            let count = |sql: &str| -> u64 {
                let found = self.bench.run(["query", "-w", workspace, "--output", "json", sql]).succeeded().json();
                found[0]["n"].as_u64().unwrap_or_else(|| panic!("{found}"))
            };
            assert_eq!(count("SELECT count(*) AS n FROM graph.packages_nodes"), expected.nodes.len() as u64);
            assert_eq!(count("SELECT count(*) AS n FROM graph.packages_edges"), expected.edges.len() as u64);
            let points = self.now.values().filter(|p| packages::has_vector(p) && packages::workspace_of(&p.name) == workspace);
            assert_eq!(count("SELECT count(*) AS n FROM vectors.packages"), points.count() as u64);
        }
    }

    fn assert_in_step(&self) {
        let done = self.bench.run(["reconcile", PIPELINE, "--output", "json"]).succeeded().json();
        assert_eq!(done["in_step"], true, "{done}");
        let found = done["sinks"].as_array().unwrap();
        assert!(!found.is_empty(), "{done}");
        for sink in found {
            let differences = ["missing", "different", "extra"].map(|kind| sink[kind].as_u64().unwrap());
            assert_eq!(differences, [0, 0, 0], "{sink}");
        }
    }
}

fn sink<'a>(report: &'a Value, name: &str) -> &'a Value {
    let found = report["sinks"].as_array().unwrap().iter().find(|s| s["sink"] == name);
    found.unwrap_or_else(|| panic!("no sink `{name}` in {report}"))
}

fn sent(report: &Value, name: &str) -> (u64, u64) {
    let sink = sink(report, name);
    assert_eq!(sink["status"], "in_step", "{sink}");
    (sink["upserted"].as_u64().unwrap(), sink["deleted"].as_u64().unwrap())
}

/// What reached a Qdrant since `from` calls: points stored, and points removed.
fn reached(server: &Qdrant, from: usize) -> (u64, u64) {
    let calls: Vec<_> = server.calls().into_iter().skip(from).filter(|c| c.code == "OK").collect();
    let points = |method: &str| calls.iter().filter(|c| c.method == method).map(|c| c.points).sum();
    (points("Points.Upsert"), points("Points.Delete"))
}

#[test]
fn only_what_changed_is_embedded_and_written_in_the_lakes_own_tables() {
    let mut feed = Feed::new(3_000);
    let first = feed.bench.run_pipeline(PIPELINE);
    assert_adds_up(&first);
    assert_eq!(sent(&first, "vectors.packages"), (feed.points(), 0));
    assert_eq!(table(&first, "vectors.packages")["rows_written"], feed.points());
    feed.assert_tables_are_right();

    let (updated, deleted) = feed.change(20, 100);
    let second = feed.bench.run_pipeline(PIPELINE);
    assert_adds_up(&second);
    let vectors = table(&second, "vectors.packages");
    assert_eq!(vectors["strategy"], "merge");
    let (written, gone) = (vectors["rows_written"].as_u64().unwrap(), vectors["rows_deleted"].as_u64().unwrap());
    assert!(written <= updated as u64 && written > 0 && gone <= deleted as u64 && gone > 0, "{vectors}");
    feed.assert_tables_are_right();
    let third = feed.bench.run_pipeline(PIPELINE);
    assert!(third["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{third}");

    let sql = "SELECT count(DISTINCT point_id) AS n FROM vectors.packages";
    let before = feed.bench.run(["query", "-w", "odd", "--output", "json", sql]).succeeded().json();
    feed.bench.run(["run", PIPELINE, "--full-refresh"]).succeeded();
    assert_eq!(feed.bench.run(["query", "-w", "odd", "--output", "json", sql]).succeeded().json(), before);
    feed.assert_tables_are_right();
}

#[test]
fn a_search_finds_the_rows_of_its_workspace_and_says_what_it_is_true_for() {
    let feed = Feed::new(2_000);
    feed.bench.run_pipeline(PIPELINE);
    let p = feed.now.values().find(|p| p.description.len() > 30 && packages::workspace_of(&p.name) == "odd").unwrap();
    let search = |workspace: &str, more: &[&str]| {
        let args = ["search", &p.description, "--table", "silver.packages", "-w", workspace, "--output", "json"];
        feed.bench.run(args.iter().chain(more)).succeeded().json()
    };
    let found = search("odd", &[]);
    let names = |found: &Value| -> Vec<String> {
        found["hits"].as_array().unwrap().iter().map(|h| h["payload"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert!(names(&found).contains(&p.name), "{found}");
    assert!(found["hits"][0]["score"].as_f64().unwrap() > 0.999, "{found}");
    assert_eq!((&found["source"], &found["source_version"]), (&"silver.packages".into(), &1.into()));
    assert!(names(&search("even", &[])).iter().all(|name| packages::workspace_of(name) == "even"));
    let narrowed = search("odd", &["--where", &format!("section = '{}' AND size > 0", p.section), "--limit", "3"]);
    assert!(narrowed["hits"].as_array().unwrap().iter().all(|h| h["payload"]["section"] == p.section.as_str()), "{narrowed}");
    let none = search("odd", &["--where", "size < 0"]);
    assert_eq!(none["hits"].as_array().unwrap().len(), 0);
    let wrong = feed.bench.run(["search", "x", "--table", "silver.packages", "-w", "odd", "--where", "sectoin = 'x'"]);
    assert_eq!(wrong.code(), 2);
    assert!(wrong.said().contains("did you mean `section`"), "{}", wrong.said());
    let nowhere = feed.bench.run(["search", "x", "--table", "silver.others", "-w", "odd"]);
    assert!(nowhere.code() == 2 && nowhere.said().contains("vectors.packages"), "{}", nowhere.said());
}

/// The stores that a lake mirrors its tables in.
struct Stores {
    qdrant: Qdrant,
    neo4j: Neo4j,
}

impl Stores {
    fn start() -> Self {
        Self { qdrant: Qdrant::start(), neo4j: Neo4j::start() }
    }

    fn feed(&self, packages: usize) -> Feed {
        let at = self.neo4j.signing_in();
        Feed::new(packages)
            .with_env("QDRANT_URL", &self.qdrant.url())
            .with_env("NEO4J_URI", &at.uri)
            .with_env("NEO4J_USER", &at.user)
            .with_env("NEO4J_PASSWORD", &at.password)
    }
}

#[test]
fn the_package_index_in_qdrant_and_neo4j_and_a_batch_of_changes() {
    let packages = if std::env::var_os("LAKE_TEST_FULL").is_some() { 60_000 } else { 6_000 };
    let stores = Stores::start();
    let mut feed = stores.feed(packages);
    let clock = Instant::now();
    let first = feed.bench.run_pipeline(PIPELINE);
    println!("{packages} packages: {:?}", clock.elapsed());
    for s in first["sinks"].as_array().unwrap() {
        println!("{}: {} sent in {} s", s["sink"], s["upserted"], s["seconds"]);
    }
    assert_adds_up(&first);
    assert_eq!(sent(&first, "vectors.packages"), (feed.points(), 0));
    assert_eq!(reached(&stores.qdrant, 0), (feed.points(), 0));
    let graph = |feed: &Feed| WORKSPACES.map(|w| packages::expected(&feed.now, w));
    let before = graph(&feed);
    let size: usize = before.iter().map(|g| g.nodes.len() + g.edges.len()).sum();
    assert_eq!(sent(&first, "graph.packages"), (size as u64, 0));
    feed.assert_tables_are_right();
    feed.assert_in_step();

    let had: BTreeMap<String, Package> = feed.now.clone();
    let (updated, deleted) = feed.change(20, 100);
    let calls = stores.qdrant.calls().len();
    let second = feed.bench.run_pipeline(PIPELINE);
    let now = |name: &String| feed.now.get(name);
    let changed =
        had.iter().filter(|(name, p)| now(name).is_some_and(|n| packages::has_vector(n) && n.description != p.description));
    let changed = changed.count() as u64;
    let gone = had.values().filter(|p| packages::has_vector(p) && now(&p.name).is_none()).count() as u64;
    assert!(changed <= updated as u64 && gone <= deleted as u64 && changed > 0 && gone > 0);
    assert_eq!(sent(&second, "vectors.packages"), (changed, gone));
    assert_eq!(reached(&stores.qdrant, calls), (changed, gone), "what reached the server");
    let steps =
        graph(&feed).iter().zip(&before).map(|(now, before)| now.steps_from(before)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    assert_eq!(sent(&second, "graph.packages"), (steps.0 as u64, steps.1 as u64));
    feed.assert_tables_are_right();
    feed.assert_in_step();

    let calls = stores.qdrant.calls().len();
    let third = feed.bench.run_pipeline(PIPELINE);
    assert_eq!((sent(&third, "vectors.packages"), sent(&third, "graph.packages")), ((0, 0), (0, 0)));
    assert_eq!(reached(&stores.qdrant, calls), (0, 0));

    let p = feed.now.values().find(|p| packages::has_vector(p) && p.description.len() > 40).unwrap();
    let workspace = packages::workspace_of(&p.name);
    let found = feed
        .bench
        .run(["search", &p.description, "-t", "vectors.packages", "-w", workspace, "--output", "json"])
        .succeeded()
        .json();
    assert!(found["hits"].as_array().unwrap().iter().any(|h| h["payload"]["name"] == p.name.as_str()), "{found}");
    assert!(found["source_version"].is_i64(), "{found}");
    let needs: Vec<&String> = p.needs.iter().collect();
    let node = format!("Package:{}", p.name);
    let around = feed.bench.run(["graph", "neighbors", &node, "-w", workspace, "--output", "json"]).succeeded().json();
    let ids: Vec<&str> = around["nodes"].as_array().unwrap().iter().map(|n| n["id"].as_str().unwrap()).collect();
    assert!(needs.iter().all(|need| ids.contains(&need.as_str())) && ids.contains(&p.maintainer.as_str()), "{around}");
}

#[test]
fn stores_that_are_away_leave_the_tables_and_catch_up() {
    let stores = Stores::start();
    let mut feed = stores.feed(500).with_env("LAKE_RETRY_SECONDS", "1");
    feed.bench.run_pipeline(PIPELINE);
    feed.change(10, 50);
    stores.qdrant.kill();
    stores.neo4j.kill();
    let behind = feed.bench.run(["run", PIPELINE, "--output", "json"]);
    assert_eq!(behind.code(), 1, "{}", behind.said());
    let report = behind.json();
    for (name, variable) in [("vectors.packages", "QDRANT_URL"), ("graph.packages", "NEO4J_URI")] {
        let sink = sink(&report, name);
        assert_eq!(sink["status"], "behind");
        assert!(sink["error"]["hint"].as_str().unwrap().contains(variable), "{sink}");
    }
    feed.assert_tables_are_right();
    let said = feed.bench.run(["run", PIPELINE]).said();
    assert!(said.contains("is behind"), "{said}");
    stores.qdrant.restart();
    stores.neo4j.restart();
    let caught_up = feed.bench.run_pipeline(PIPELINE);
    assert!(sent(&caught_up, "vectors.packages").0 > 0 && sent(&caught_up, "graph.packages").0 > 0, "{caught_up}");
    feed.assert_in_step();
}

#[test]
fn what_somebody_else_did_to_the_stores_is_found_and_repaired() {
    let stores = Stores::start();
    let mut feed = stores.feed(300);
    feed.bench.run_pipeline(PIPELINE);
    // Another lake of the same pipeline, with other rows, writes to the same collection and graph.
    let other = stores.feed(300);
    other.bench.run_pipeline(PIPELINE);
    let mut third = stores.feed(300);
    third.change(3, 5);
    third.bench.run_pipeline(PIPELINE);
    let found = feed.bench.run(["reconcile", PIPELINE, "--output", "json"]);
    assert_eq!(found.code(), 1, "{}", found.said());
    let total: u64 = found.json()["sinks"].as_array().unwrap().iter().map(|s| s["different"].as_u64().unwrap()).sum();
    assert!(total > 0, "{}", found.stdout());
    assert!(feed.bench.run(["reconcile", PIPELINE]).said().contains("different"));
    feed.bench.run(["reconcile", PIPELINE, "--repair"]).succeeded();
    feed.assert_in_step();
    feed.change(10, 50);
    feed.bench.run_pipeline(PIPELINE);
    feed.assert_in_step();
}

#[test]
fn fifty_killed_runs_leave_the_stores_in_step() {
    let stores = Stores::start();
    let mut feed = stores.feed(1_000);
    feed.bench.run_pipeline(PIPELINE);
    let (mut killed, mut usual) = (0, Duration::from_millis(1_500));
    let mut step = 0u32;
    while killed < 50 {
        assert!(step < 200, "only {killed} of {step} runs were killed");
        feed.change(20, 500);
        let clock = Instant::now();
        let mut run =
            feed.bench.command(["run", PIPELINE, "--quiet"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // From the start of a run to its end, a little later each time.
        let deadline = usual.mul_f64(f64::from(step * 37 % 100) / 100.0);
        loop {
            if let Some(status) = run.try_wait().unwrap() {
                assert!(status.success(), "run {step} failed by itself: {status}");
                usual = clock.elapsed();
                break;
            }
            if clock.elapsed() >= deadline {
                run.kill().unwrap();
                run.wait().unwrap();
                killed += 1;
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if step % 25 == 12 {
            let run = feed.bench.command(["run", PIPELINE]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            stores.qdrant.restart();
            stores.neo4j.restart();
            let done = Finished(run.wait_with_output().unwrap());
            assert_eq!(done.code(), 0, "a store that came back: {}", done.said());
        }
        step += 1;
    }
    feed.bench.run_pipeline(PIPELINE);
    feed.assert_tables_are_right();
    feed.assert_in_step();
}

#[test]
fn a_text_is_sent_to_the_embedder_once_and_the_definition_decides_on_the_rest() {
    let service = Embeddings::start();
    let mut feed =
        Feed::new(400).with_env("LLM_API_URL", service.url()).with_env("LLM_EMBEDDING_MODEL", "m").with_env("LLM_API_KEY", "k");
    // Workspaces do not share vectors: each text, and in how many of them it is.
    let texts = |feed: &Feed| -> BTreeMap<String, usize> {
        let mut owners: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for p in feed.now.values().filter(|p| packages::has_vector(p)) {
            owners.entry(p.description.clone()).or_default().insert(packages::workspace_of(&p.name));
        }
        owners.into_iter().map(|(text, owners)| (text, owners.len())).collect()
    };
    // Beside the texts, the embedder asks once a process how long vectors are.
    let sent = |from: usize, feed: &Feed| -> BTreeMap<String, usize> {
        let known = texts(feed);
        let mut sent = BTreeMap::new();
        for text in service.seen().into_iter().skip(from).filter(|t| known.contains_key(t)) {
            *sent.entry(text).or_default() += 1;
        }
        sent
    };
    let first = feed.bench.run_pipeline(PIPELINE);
    assert_eq!(table(&first, "vectors.packages")["rows_written"], feed.points());
    let (wanted, found) = (texts(&feed), sent(0, &feed));
    assert!(wanted.keys().eq(found.keys()), "every text");
    assert!(found.iter().all(|(text, times)| *times <= wanted[text]), "none twice in a workspace, though rows share some");
    assert!(service.with_key() > 0);

    let before = (service.seen().len(), texts(&feed));
    feed.change(10, 1_000_000);
    feed.bench.run_pipeline(PIPELINE);
    let new: Vec<String> = texts(&feed).into_keys().filter(|t| !before.1.contains_key(t)).collect();
    assert!(!new.is_empty() && sent(before.0, &feed).keys().eq(&new), "only what is new");

    let before = service.seen().len();
    let all = feed.bench.run(["run", PIPELINE, "--full-refresh", "--output", "json"]).succeeded().json();
    assert_eq!(table(&all, "vectors.packages")["rows_written"], feed.points());
    assert!(sent(before, &feed).is_empty(), "all vectors come from the cache");

    // Another embedder: a search by it is refused until the vectors are its own.
    let workspace = packages::workspace_of(feed.now.keys().next().unwrap());
    let search = |feed: &Feed| feed.bench.run(["search", "x", "-t", "vectors.packages", "-w", workspace]);
    search(&feed).succeeded();
    let feed = feed.with_env("LLM_EMBEDDING_MODEL", "other");
    let refused = search(&feed);
    assert!(refused.code() == 2 && refused.said().contains("were made by"), "{}", refused.said());
    let again = feed.bench.run_pipeline(PIPELINE);
    assert_eq!(table(&again, "vectors.packages")["strategy"], "replace");
    search(&feed).succeeded();
    feed.assert_tables_are_right();
}

#[test]
fn another_mapping_fills_a_collection_beside_the_old_one_which_then_goes() {
    let stores = Stores::start();
    let feed = stores.feed(300);
    feed.bench.run_pipeline(PIPELINE);
    let text = std::fs::read_to_string(lake_tests::binary::checkout().join(PIPELINE)).unwrap();
    let changed = text.replace("payload: { name: package,", "payload: { version: version, name: package,");
    assert_ne!(text, changed);
    let pipeline = feed.bench.path("packages.yaml");
    std::fs::write(&pipeline, changed).unwrap();
    let before = stores.qdrant.calls();
    let old: BTreeSet<String> = before.iter().filter(|c| c.method == "Points.Upsert").map(|c| c.collection.clone()).collect();
    let report = feed.bench.run_pipeline(pipeline.to_str().unwrap());
    assert_eq!(sent(&report, "vectors.packages"), (feed.points(), 0));
    assert_eq!(sent(&report, "graph.packages"), (0, 0));
    let calls = stores.qdrant.calls().split_off(before.len());
    assert!(calls.iter().filter(|c| c.method == "Points.Upsert").all(|c| !old.contains(&c.collection)), "{calls:?}");
    let first_gone = calls.iter().position(|c| old.contains(&c.collection) && c.method.contains("Delete"));
    let last_filled = calls.iter().rposition(|c| c.method == "Points.Upsert");
    assert!(first_gone > last_filled && last_filled.is_some(), "{calls:?}");
    let p = feed.now.values().find(|p| packages::has_vector(p)).unwrap();
    let args = ["search", &p.description, "-t", "vectors.packages", "-w", packages::workspace_of(&p.name), "--output", "json"];
    let found = feed.bench.run(args).succeeded().json();
    assert!(found["hits"][0]["payload"]["version"].is_string(), "{found}");
}
