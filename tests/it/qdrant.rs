//! Qdrant keeps the promises of a vector store, and those of its own: over a wire that breaks, and in what it is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::prelude::SessionContext;
use lake::vectors::{Collection, Condition, FieldKind, PayloadField, Point, Qdrant, QdrantOptions, VectorStore};
use lake::{ErrorKind, WorkspaceId};
use lake_tests::servers::{self, QdrantCall, qdrant};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::contract::vector_store::{fresh, listed, numbers, point, published, workspace};

fn connected(url: &str, api_key: Option<&str>, patience: Duration) -> Qdrant {
    let options = QdrantOptions { url: url.into(), api_key: api_key.map(str::to_owned), patience, ..Default::default() };
    Qdrant::connect(&options).unwrap()
}

async fn open() -> (Qdrant, ()) {
    let shared = tokio::task::spawn_blocking(qdrant).await.unwrap();
    (connected(&shared.url, shared.api_key.as_deref(), Duration::from_secs(30)), ())
}

keeps_the_promises_of_a_vector_store!(open);

fn many(workspace: &WorkspaceId, count: u128) -> Vec<Point> {
    (1..=count).map(|n| point(workspace, n, [1.0, n as f32, 0.0], json!({ "text": "t", "stars": n as i64 }))).collect()
}

/// The calls of `method` that a server has answered.
fn calls(server: &servers::Qdrant, method: &str) -> Vec<QdrantCall> {
    server.calls().into_iter().filter(|call| call.method == method).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_workspaces_than_are_asked_for_at_first_are_all_listed() {
    let (store, ()) = open().await;
    let points =
        (1..=1_100).map(|n| point(&workspace(&format!("w{n:05}")), n, [1.0, 0.0, 0.0], json!({ "text": "t" }))).collect();
    let collection = published(&store, points).await;
    let expected: Vec<WorkspaceId> = (1..=1_100).map(|n| workspace(&format!("w{n:05}"))).collect();
    assert_eq!(store.workspaces(&collection).await.unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_of_other_programs_stay() {
    let (store, ()) = open().await;
    let collection = published(&store, vec![]).await;
    // A year is hex digits too.
    let year = Collection { generation: "2024".into(), ..collection.clone() };
    store.prepare(&year).await.unwrap();
    let next = Collection { generation: "00000000000000b2".into(), ..collection.clone() };
    store.prepare(&next).await.unwrap();
    store.publish(&next).await.unwrap();
    assert!(store.prepare(&year).await.unwrap(), "the other program's collection is gone");
    assert!(!store.prepare(&collection).await.unwrap(), "the old generation is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_sent_once_and_no_more() {
    let server = servers::Qdrant::start();
    let (store, acme, collection) = (connected(&server.url(), None, Duration::from_secs(30)), workspace("acme"), fresh());
    store.prepare(&collection).await.unwrap();
    store.upsert(&collection, many(&acme, 600)).await.unwrap();
    let mut upserts: Vec<u64> = calls(&server, "Points.Upsert").iter().map(|call| call.points).collect();
    upserts.sort_unstable();
    assert_eq!(upserts, [88, 256, 256]);
    assert_eq!(calls(&server, "Points.CreateFieldIndex").len(), 6, "of the workspace and each field that can be compared");

    let before = server.calls().len();
    store.prepare(&collection).await.unwrap();
    store.delete(&collection, &acme, &[1, 2, 9_999].map(Uuid::from_u128)).await.unwrap();
    store.delete(&collection, &workspace("beta"), &[3].map(Uuid::from_u128)).await.unwrap();
    store.upsert(&collection, vec![]).await.unwrap();
    store.delete(&collection, &acme, &[]).await.unwrap();
    let methods: Vec<(String, u64)> = server.calls().into_iter().skip(before).map(|call| (call.method, call.points)).collect();
    assert_eq!(methods, [("Collections.Get".into(), 0), ("Points.Delete".into(), 2), ("Points.Delete".into(), 0)]);

    store.publish(&collection).await.unwrap();
    store.publish(&collection).await.unwrap();
    assert_eq!(calls(&server, "Collections.UpdateAliases").len(), 1);
    assert_eq!(calls(&server, "Collections.Delete"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_gets_everything() {
    let server = Arc::new(servers::Qdrant::start());
    let (store, acme, collection) = (connected(&server.url(), None, Duration::from_secs(60)), workspace("acme"), fresh());
    store.prepare(&collection).await.unwrap();
    store.publish(&collection).await.unwrap();
    let points = many(&acme, 20_000);
    let expected: Vec<Uuid> = points.iter().map(|point| point.id).collect();
    let upserting = {
        let (store, collection) = (store.clone(), collection.clone());
        tokio::spawn(async move { store.upsert(&collection, points).await })
    };
    while calls(&server, "Points.Upsert").len() < 5 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let killed = server.clone();
    tokio::task::spawn_blocking(move || {
        killed.kill();
        killed.restart();
    })
    .await
    .unwrap();
    assert!(!upserting.is_finished(), "the kill came too late to prove anything");
    upserting.await.unwrap().unwrap();
    let ids: Vec<Uuid> = listed(&store, &collection, &acme).await.into_iter().map(|stored| stored.id).collect();
    assert_eq!(ids, expected);

    // What was acknowledged survives, the alias too; and a connection that died is made anew.
    let killed = server.clone();
    tokio::task::spawn_blocking(move || killed.restart()).await.unwrap();
    assert_eq!(store.count(&collection, &acme).await.unwrap(), 20_000);
    assert_eq!(numbers(&store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], None, 2).await.unwrap()), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_is_named() {
    let server = servers::Qdrant::start();
    let (url, acme) = (server.url(), workspace("acme"));
    server.kill();
    for patience in [Duration::ZERO, Duration::from_secs(1)] {
        let (store, started) = (connected(&url, None, patience), Instant::now());
        let error = store.search("posts", &acme, &[1.0, 0.0, 0.0], None, 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert_eq!(error.to_string(), format!("cannot search `posts`: Qdrant at {url} cannot be reached: connection refused"));
        assert!(error.hint().unwrap().contains("`QDRANT_URL`"), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up() {
    let server = servers::Qdrant::start();
    let (store, collection) = (connected(&server.url(), None, Duration::from_secs(1)), fresh());
    store.prepare(&collection).await.unwrap();
    server.pause();
    let started = Instant::now();
    let error = store.count(&collection, &workspace("acme")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    server.resume();
    assert_eq!(store.count(&collection, &workspace("acme")).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_named_and_never_shown() {
    let server = servers::Qdrant::start_with_key(Some("right-key"));
    for key in [None, Some("wrong-key")] {
        let (store, started) = (connected(&server.url(), key, Duration::from_secs(60)), Instant::now());
        let error = store.prepare(&fresh()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.hint().unwrap().contains("`QDRANT_API_KEY`"), "{error:?}");
        assert!(!format!("{error:?} {store:?}").contains("wrong-key"));
        assert!(started.elapsed() < Duration::from_secs(5), "it was tried again");
    }
    let store = connected(&server.url(), Some("right-key"), Duration::from_secs(60));
    assert!(!store.prepare(&fresh()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_said_once() {
    let (store, ()) = open().await;
    let acme = workspace("acme");
    let collection = published(&store, vec![]).await;
    let started = Instant::now();
    let wrong = Point { vector: vec![f32::NAN; 3], ..point(&acme, 1, [1.0, 0.0, 0.0], json!({ "text": "private" })) };
    let error = store.upsert(&collection, vec![wrong]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(!format!("{error:?}").contains("private"), "{error:?}");
    let error = store.search(&collection.name, &acme, &[1.0, 0.0], None, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Query, "{error}");
    let gone = Collection { generation: "00000000000000c3".into(), ..collection };
    let error = store.upsert(&gone, many(&acme, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5), "it was tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn points_larger_than_a_batch_are_stored() {
    let (store, ()) = open().await;
    let acme = workspace("acme");
    let text = "ö".repeat(5 << 20);
    let points = (1..=3).map(|n| point(&acme, n, [1.0, n as f32, 0.0], json!({ "text": text }))).collect();
    let collection = published(&store, points).await;
    let hits = store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], None, 3).await.unwrap();
    assert_eq!(numbers(&hits), [1, 2, 3]);
    assert!(hits.iter().all(|hit| hit.payload["text"].as_str() == Some(&text)));
}

/// A name that is no plain word, for the paths of filters.
const ODD: &str = "größe.x[0]";

const LANGS: [&str; 5] = ["en", "de", "", "o'hara", "\"q\" \\ %"];
const DAYS: [&str; 4] = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000001Z", "1969-12-31T23:59:59.5Z", "2026-01-02T00:00:00Z"];

/// Random conditions over random rows.
struct Random(SmallRng);

impl Random {
    fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.0.random_range(0..items.len())]
    }

    fn maybe(&mut self, value: Value) -> Option<Value> {
        match self.0.random_range(0..6) {
            0 => None,
            1 => Some(Value::Null),
            _ => Some(value),
        }
    }

    fn payload(&mut self) -> Value {
        let values = [
            ("lang", json!(self.one_of(&LANGS))),
            ("stars", json!(self.0.random_range(-3..4_i64))),
            (ODD, json!(self.one_of(&[i64::MAX, i64::MIN, 0, 1]))),
            ("price", json!(self.one_of(&[-1.5, 0.0, 0.1, 2.0, 1e300]))),
            ("done", json!(self.0.random_bool(0.5))),
            ("at", json!(self.one_of(&DAYS))),
        ];
        let mut payload = json!({ "text": "t" });
        for (name, value) in values {
            if let Some(value) = self.maybe(value) {
                payload[name] = value;
            }
        }
        payload
    }

    /// A field in SQL, and a value that it can be compared with.
    fn operands(&mut self) -> (&'static str, String, bool) {
        match self.0.random_range(0..6) {
            0 => ("lang", format!("'{}'", self.one_of(&LANGS).replace('\'', "''")), false),
            1 => ("stars", self.one_of(&["-3", "-1", "0", "1", "2.0", "1.5", "-0.5", "1e19", "9007199254740991"]).into(), true),
            2 => ("\"größe.x[0]\"", self.one_of(&["9223372036854775807", "-9223372036854775808", "0", "1"]).into(), false),
            3 => ("price", self.one_of(&["-1.5", "0", "0.1", "2", "1e300", "-7"]).into(), true),
            4 => ("done", self.one_of(&["true", "false"]).into(), false),
            _ => ("at", format!("timestamp '{}'", self.one_of(&DAYS)), true),
        }
    }

    fn leaf(&mut self) -> String {
        let (field, value, ordered) = self.operands();
        let not = self.one_of(&["", "NOT "]);
        match self.0.random_range(0..if ordered { 8 } else { 5 }) {
            0 => format!("{field} IS {not}NULL"),
            1 => format!("{field} {not}IN ({value}, {value})"),
            2 => format!("{value} = {field}"),
            3 => format!("{field} <> {value}"),
            4 => self.one_of(&["done", "true", "false"]).into(),
            5 => format!("{field} {not}BETWEEN {value} AND {value}"),
            _ => format!("{field} {} {value}", self.one_of(&["<", "<=", ">", ">="])),
        }
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth == 0 || self.0.random_bool(0.2) {
            return self.leaf();
        }
        let (left, right) = (self.condition(depth - 1), self.condition(depth - 1));
        match self.0.random_range(0..3) {
            0 => format!("({left} AND {right})"),
            1 => format!("({left} OR {right})"),
            _ => format!("NOT ({left})"),
        }
    }
}

fn batch(payloads: &[Value]) -> RecordBatch {
    let column = |name: &'static str| payloads.iter().map(move |payload| payload.get(name).filter(|value| !value.is_null()));
    let micros =
        |value: &Value| value.as_str()?.parse::<chrono::DateTime<chrono::Utc>>().ok().map(|time| time.timestamp_micros());
    let times = column("at").map(|value| value.and_then(micros)).collect::<TimestampMicrosecondArray>();
    let columns: [(&str, ArrayRef); 7] = [
        ("number", Arc::new((1..=payloads.len() as i64).collect::<Int64Array>())),
        ("lang", Arc::new(column("lang").map(|value| value?.as_str()).collect::<StringArray>())),
        ("stars", Arc::new(column("stars").map(|value| value?.as_i64()).collect::<Int64Array>())),
        (ODD, Arc::new(column(ODD).map(|value| value?.as_i64()).collect::<Int64Array>())),
        ("price", Arc::new(column("price").map(|value| value?.as_f64()).collect::<Float64Array>())),
        ("done", Arc::new(column("done").map(|value| value?.as_bool()).collect::<BooleanArray>())),
        ("at", Arc::new(times.with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter(columns.map(|(name, column)| (name, column, true)).map(|(name, column, _)| (name, column)))
        .unwrap()
}

/// The numbers of the rows for which DataFusion says that the condition holds.
async fn in_datafusion(rows: &RecordBatch, condition: &Condition) -> Vec<u128> {
    let rows = SessionContext::new().read_batch(rows.clone()).unwrap().filter(condition.to_expr()).unwrap();
    let found = rows.select_columns(&["number"]).unwrap().collect().await.unwrap();
    let numbers = |batch: &RecordBatch| -> Vec<u128> {
        let column = batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
        column.values().iter().map(|number| *number as u128).collect()
    };
    let mut found: Vec<u128> = found.iter().flat_map(numbers).collect();
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_hold_for_the_same_rows_in_datafusion_and_in_qdrant() {
    let (store, ()) = open().await;
    let seed = rand::rng().next_u64();
    let mut random = Random(SmallRng::seed_from_u64(seed));
    let acme = workspace("acme");
    let payloads: Vec<Value> = (0..150).map(|_| random.payload()).collect();
    let rows = batch(&payloads);
    let mut collection = fresh();
    collection.payload.push(PayloadField { name: ODD.into(), kind: FieldKind::Integer });
    store.prepare(&collection).await.unwrap();
    let points = (1..).zip(&payloads).map(|(n, payload)| point(&acme, n, [1.0, 0.0, 0.0], payload.clone())).collect();
    store.upsert(&collection, points).await.unwrap();
    store.publish(&collection).await.unwrap();
    let (mut some, mut all) = (0, 0);
    for _ in 0..400 {
        let sql = random.condition(3);
        let condition = Condition::parse(&sql, &collection.payload).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let hits = store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], Some(&condition), 1_000).await;
        let mut found = numbers(&hits.unwrap_or_else(|e| panic!("{sql}: {e}")));
        found.sort_unstable();
        assert_eq!(found, in_datafusion(&rows, &condition).await, "seed {seed}: {sql}");
        (some, all) = (some + usize::from(!found.is_empty()), all + usize::from(found.len() == 150));
    }
    assert!(some > 200 && all < 200, "the conditions are too weak: {some} hold for some rows, {all} for all");
}
