//! Graphs in a real Neo4j.

use std::time::{Duration, Instant};

use futures::TryStreamExt;
use lake::ErrorKind;
use lake::graph::{Edge, Graph, GraphQuery, GraphStore, LocalGraph, Neo4j, Neo4jOptions, Node};
use lake_tests::contract::graph_store::{edge, fresh_graph, key, node, workspace};
use lake_tests::servers::{self, Neo4jAddress};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

fn options(at: Neo4jAddress, patience: Duration) -> Neo4jOptions {
    Neo4jOptions { uri: at.uri, user: at.user, password: at.password, database: None, patience }
}

fn store() -> Neo4j {
    Neo4j::connect(options(servers::neo4j(), Duration::from_secs(60))).unwrap()
}

lake_tests::graph_store_contract!(store());

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_as_one() {
    let wrong = Neo4jAddress { password: "wrong-password".into(), ..servers::neo4j() };
    let store = Neo4j::connect(options(wrong, Duration::from_secs(20))).unwrap();
    let started = Instant::now();
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.hint().unwrap().contains("`NEO4J_USER` and `NEO4J_PASSWORD`"));
    assert!(!format!("{error:?}").contains("wrong-password"));
    assert!(started.elapsed() < Duration::from_secs(10), "it was tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_within_the_patience() {
    let nowhere = Neo4jAddress { uri: "bolt://127.0.0.1:9".into(), user: "neo4j".into(), password: "x".into() };
    let store = Neo4j::connect(options(nowhere, Duration::from_millis(500))).unwrap();
    let started = Instant::now();
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(error.hint().unwrap().contains("`NEO4J_URI`"));
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&started.elapsed()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_told_as_one() {
    let options = Neo4jOptions { database: Some("nowhere".into()), ..options(servers::neo4j(), Duration::from_secs(5)) };
    let error = Neo4j::connect(options).unwrap().ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.hint().unwrap().contains("NEO4J_DATABASE"));
}

/// A request that is given up half way must not leave its answer to the next one.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_given_up_does_not_answer_another() {
    let store = store();
    let (graph, acme, other) = (fresh_graph(&store).await, workspace("acme"), workspace("other"));
    let nodes = |n: usize| (0..n).map(|i| node("Person", &format!("{i}"), json!({}))).collect::<Vec<_>>();
    store.upsert_nodes(&graph, &acme, nodes(1_500)).await.unwrap();
    store.upsert_nodes(&graph, &other, nodes(3)).await.unwrap();
    for round in 0..60 {
        let listing = async { store.nodes(&graph, &acme).await?.try_collect::<Vec<_>>().await };
        let _ = tokio::time::timeout(Duration::from_micros(200 * round), listing).await;
        let found: Vec<_> = store.nodes(&graph, &other).await.unwrap().try_collect().await.unwrap();
        assert_eq!(found.len(), 3, "round {round}");
    }
}

/// Writers that meet on the same nodes get in each other's way; nothing is lost or doubled.
#[tokio::test(flavor = "multi_thread")]
async fn writers_of_the_same_edges_end_up_with_each_once() {
    let store = store();
    let (graph, acme) = (fresh_graph(&store).await, workspace("acme"));
    let nodes = (0..30).map(|i| node("Person", &format!("{i}"), json!({}))).collect::<Vec<_>>();
    let edges = (0..900).map(|i| edge(&format!("Person:{}", i / 30), "KNOWS", &format!("Person:{}", i % 30), json!({"i": i})));
    let edges: Vec<_> = edges.collect();
    let write = |turn: usize| {
        let (mut nodes, mut edges) = (nodes.clone(), edges.clone());
        nodes.rotate_left(turn * 7);
        edges.rotate_left(turn * 211);
        let (store, graph, acme) = (store.clone(), graph.clone(), acme.clone());
        tokio::spawn(async move {
            store.upsert_nodes(&graph, &acme, nodes).await?;
            store.upsert_edges(&graph, &acme, edges).await
        })
    };
    let writers: Vec<_> = (0..4).map(write).collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let found: Vec<_> = store.edges(&graph, &acme).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found.len(), 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_comes_back_misses_nothing() {
    let server = servers::Neo4j::start();
    let store = Neo4j::connect(options(server.signing_in(), Duration::from_secs(180))).unwrap();
    let (graph, acme) = (fresh_graph(&store).await, workspace("acme"));
    let nodes = (0..20_000).map(|i| node("Person", &format!("{i:05}"), json!({"i": i}))).collect::<Vec<_>>();
    let edges = (1..20_000).map(|i| edge(&format!("Person:{:05}", i / 2), "KNOWS", &format!("Person:{i:05}"), json!({"i": i})));
    let edges: Vec<_> = edges.collect();
    let write = {
        let (store, graph, acme) = (store.clone(), graph.clone(), acme.clone());
        tokio::spawn(async move {
            store.upsert_nodes(&graph, &acme, nodes).await?;
            store.upsert_edges(&graph, &acme, edges).await
        })
    };
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert!(!write.is_finished(), "it was written before the server was killed");
        tokio::task::block_in_place(|| server.restart());
    }
    write.await.unwrap().unwrap();
    let found: Vec<_> = store.nodes(&graph, &acme).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found.len(), 20_000);
    let found: Vec<_> = store.edges(&graph, &acme).await.unwrap().try_collect().await.unwrap();
    assert_eq!(found.len(), 19_999);
    server.kill();
    let impatient = Neo4j::connect(options(server.signing_in(), Duration::from_millis(300))).unwrap();
    let error = impatient.upsert_nodes(&graph, &acme, vec![node("Person", "late", json!({}))]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    tokio::task::block_in_place(|| server.restart());
    let near = store.neighbors(&graph, &acme, &key("Person", "00001"), 1, 10).await.unwrap();
    assert_eq!(near.nodes.len(), 4);
}

/// Values that are compared: of all sorts, and often the same.
const VALUES: [&str; 10] = ["1", "2", "1.0", "2.5", "-1", "'a'", "'ab'", "'B'", "true", "false"];

fn one_of<'a>(random: &mut StdRng, choices: &[&'a str]) -> &'a str {
    choices[random.random_range(0..choices.len())]
}

fn random_properties(random: &mut StdRng) -> Value {
    let mut found = Map::new();
    for name in ["x", "y"] {
        if random.random_bool(0.7) {
            let value = one_of(random, &VALUES).replace('\'', "\"");
            found.insert(name.to_owned(), serde_json::from_str(&value).unwrap());
        }
    }
    found.insert("n".to_owned(), json!(random.random_range(0..4)));
    Value::Object(found)
}

fn random_graph(random: &mut StdRng) -> (Vec<Node>, Vec<Edge>) {
    let count = random.random_range(1..7);
    let label = |id: usize| if id.is_multiple_of(3) { "Post" } else { "Person" };
    let nodes = (0..count).map(|id| node(label(id), &format!("{id}"), random_properties(random))).collect();
    let mut edges: Vec<Edge> = Vec::new();
    for _ in 0..random.random_range(0..10) {
        let mut end = || random.random_range(0..count);
        let (from, to) = (end(), end());
        let (from, to) = (format!("{}:{from}", label(from)), format!("{}:{to}", label(to)));
        let found = edge(&from, one_of(random, &["WROTE", "KNOWS"]), &to, random_properties(random));
        if edges.iter().all(|edge| edge.key != found.key) {
            edges.push(found);
        }
    }
    (nodes, edges)
}

fn random_path(random: &mut StdRng, edges: &mut Vec<String>) -> String {
    let mut path = String::new();
    for step in 0..random.random_range(1..4) {
        if step > 0 {
            let inside = match random.random_range(0..4) {
                0 => {
                    edges.push(format!("r{}", edges.len()));
                    format!("[{}{}]", edges[edges.len() - 1], one_of(random, &["", ":WROTE", ":KNOWS|WROTE", " {n: 1}"]))
                }
                1 => format!(
                    "[{}{}]",
                    one_of(random, &["", ":KNOWS"]),
                    one_of(random, &["*1..2", "*0..2", "*2", "*..3", "*0..1 {n: 2}"])
                ),
                _ => one_of(random, &["", "[:KNOWS]", "[:WROTE]", "[{x: 1}]"]).to_owned(),
            };
            let (left, right) = [("-", "->"), ("<-", "-"), ("-", "-"), ("<-", "->")][random.random_range(0..4)];
            path += &format!("{left}{inside}{right}");
        }
        let name = one_of(random, &["a", "a", "b", "c", ""]);
        path += &format!(
            "({name}{}{})",
            one_of(random, &["", "", ":Person", ":Post|Person"]),
            one_of(random, &["", "", "", " {n: 1}"])
        );
    }
    path
}

fn random_condition(random: &mut StdRng, depth: u32) -> String {
    let property = |random: &mut StdRng| format!("a.{}", one_of(random, &["x", "y", "n", "id", "gone"]));
    let property = property(random);
    match random.random_range(0..if depth > 0 { 9 } else { 6 }) {
        0 => format!("{property} IS {}NULL", one_of(random, &["", "NOT "])),
        1 => format!("{property} IN [{}, {}]", one_of(random, &VALUES), one_of(random, &VALUES)),
        2 => format!("{property} {} {}", one_of(random, &["STARTS WITH", "ENDS WITH", "CONTAINS"]), one_of(random, &VALUES)),
        3 => format!("{property} {} a.{}", one_of(random, &["=", "<>", "<", ">="]), one_of(random, &["x", "y", "n"])),
        4 | 5 => format!("{property} {} {}", one_of(random, &["=", "<>", "<", "<=", ">", ">="]), one_of(random, &VALUES)),
        6 => format!("NOT ({})", random_condition(random, depth - 1)),
        _ => {
            let (left, right) = (random_condition(random, depth - 1), random_condition(random, depth - 1));
            format!("({left} {} {right})", one_of(random, &["AND", "OR"]))
        }
    }
}

/// A query, and whether its rows have one order only.
fn random_query(random: &mut StdRng) -> (String, bool) {
    let mut edges = Vec::new();
    let mut text = "MATCH (a), ".to_owned() + &random_path(random, &mut edges);
    if random.random_bool(0.7) {
        text += &format!(" WHERE {}", random_condition(random, 2));
    }
    if random.random_bool(0.3) {
        text += &format!(" MATCH {} ", random_path(random, &mut edges));
    }
    text += match random.random_range(0..8) {
        0 => " RETURN a",
        1 => " RETURN DISTINCT a.x AS x, labels(a) AS l",
        2 => " RETURN count(*) AS n, count(a.x) AS x, count(DISTINCT a.y) AS y, sum(a.n) AS s, avg(a.n) AS m",
        3 => " RETURN a.n AS k, count(*) AS n, min(a.x) AS least, max(a.y) AS most, collect(DISTINCT a.id) AS ids",
        4 => " RETURN DISTINCT a.id AS id, a.x AS x ORDER BY x DESC, id SKIP 1 LIMIT 3",
        5 => " RETURN a.n AS k, count(*) AS n ORDER BY n DESC, k LIMIT 2",
        6 => " RETURN a.id AS id ORDER BY a.n, a.id DESC",
        _ => match edges.first() {
            Some(_) => " RETURN r0, type(r0) AS t, r0.x AS x",
            None => " RETURN collect(a) AS all",
        },
    };
    let is_ordered = text.contains("ORDER BY");
    (text, is_ordered)
}

/// Rows as text, in an order where they have none; lists have none either. Of 1 and 1.0, which are equal, either may be the least, the most
/// or the one that is left of both.
fn comparable(rows: Vec<Map<String, Value>>, (text, is_ordered): (&str, bool)) -> Vec<String> {
    let is_either = text.contains("min(") || text.contains("DISTINCT a.x");
    let sorted = |mut row: Map<String, Value>| {
        for value in row.values_mut() {
            if let Value::Array(items) = value {
                items.sort_by_key(Value::to_string);
            }
            // An average is rounded in more ways than one.
            if let Some(float) = value.as_f64().filter(|_| value.is_f64()) {
                let rounded = (float * 1e9).round() / 1e9;
                *value = if is_either && rounded.fract() == 0.0 { json!(rounded as i64) } else { json!(rounded) };
            }
        }
        Value::Object(row).to_string()
    };
    let mut rows: Vec<String> = rows.into_iter().map(sorted).collect();
    if !is_ordered {
        rows.sort();
    }
    rows
}

/// The executor in memory is compared with Neo4j, on random graphs and queries.
#[tokio::test(flavor = "multi_thread")]
async fn the_local_executor_finds_what_neo4j_finds() {
    let (store, acme) = (store(), workspace("acme"));
    let mut found = 0;
    for seed in 0..25 {
        let mut random = StdRng::seed_from_u64(seed);
        let (nodes, edges) = random_graph(&mut random);
        let graph: Graph = fresh_graph(&store).await;
        store.upsert_nodes(&graph, &acme, nodes.clone()).await.unwrap();
        store.upsert_edges(&graph, &acme, edges.clone()).await.unwrap();
        let local = LocalGraph::new(nodes.clone(), edges);
        for start in &nodes {
            let (depth, limit) = (random.random_range(0..4), random.random_range(0..6));
            let theirs = store.neighbors(&graph, &acme, &start.key, depth, limit).await.unwrap();
            assert_eq!(local.neighbors(&start.key, depth, limit), theirs, "seed {seed}: {:?} {depth} {limit}", start.key);
        }
        for _ in 0..25 {
            let (text, is_ordered) = random_query(&mut random);
            let query = GraphQuery::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let ours = local.query(&graph, &query, 10_000).unwrap_or_else(|error| panic!("{text}: {error}"));
            let theirs = store.query(&graph, &acme, &query, 10_000).await.unwrap_or_else(|error| panic!("{text}: {error}"));
            found += ours.len();
            assert_eq!(comparable(ours, (&text, is_ordered)), comparable(theirs, (&text, is_ordered)), "seed {seed}: {text}");
        }
    }
    assert!(found > 500, "{found} rows only");
}
