//! What every store of vectors promises.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use lake::vectors::{Collection, Condition, FieldKind, Hit, PayloadField, Point, StoredPoint, VectorStore};
use lake::{ErrorKind, WorkspaceId};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Makes a test of each promise, for the store that an `async` function without arguments opens: it gives the store, and what must live as long.
macro_rules! keeps_the_promises_of_a_vector_store {
    ($open:path) => {
        keeps_the_promises_of_a_vector_store! { $open;
            points_are_found_by_nearness, a_condition_narrows_a_search, a_point_replaces_the_one_with_its_id, a_search_keeps_its_limit,
            deleted_points_are_gone, a_workspace_reaches_no_points_of_others, a_listing_has_all_points_in_the_order_of_their_ids,
            nothing_is_done_for_nothing, preparing_again_keeps_what_is_there, racing_preparations_all_succeed,
            publishing_swaps_generations_at_once, publishing_leaves_other_collections_alone, what_was_never_published_is_not_found,
            a_missing_field_is_null, other_dimensions_are_refused, payloads_come_back_as_they_were,
        }
    };
    ($open:path; $($promise:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let (store, _alive) = $open().await;
            crate::contract::vector_store::$promise(&store).await;
        }
    )+};
}

/// The payload of the suite's collections: a field of each kind that can be compared.
pub(crate) fn fields() -> Vec<PayloadField> {
    let field = |name: &str, kind| PayloadField { name: name.into(), kind };
    vec![
        field("lang", FieldKind::Keyword),
        field("stars", FieldKind::Integer),
        field("price", FieldKind::Float),
        field("done", FieldKind::Bool),
        field("at", FieldKind::Datetime),
        field("tags", FieldKind::Other),
    ]
}

/// A collection that nobody else has.
pub(crate) fn fresh() -> Collection {
    let name = format!("c_{:032x}", Uuid::now_v7().as_u128());
    Collection { name, generation: "00000000000000a1".into(), dimensions: 3, payload: fields() }
}

pub(crate) fn workspace(name: &str) -> WorkspaceId {
    WorkspaceId::new(name).unwrap()
}

/// A point with the id `number`, in the direction of `vector`.
pub(crate) fn point(workspace: &WorkspaceId, number: u128, vector: [f32; 3], payload: Value) -> Point {
    let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    let Value::Object(payload) = payload else { panic!("a payload is an object: {payload}") };
    let (id, hash) = (Uuid::from_u128(number), format!("{number:016x}"));
    Point { id, workspace: workspace.clone(), vector: vector.map(|v| v / length).to_vec(), payload, hash }
}

pub(crate) fn numbers(hits: &[Hit]) -> Vec<u128> {
    hits.iter().map(|hit| hit.id.as_u128()).collect()
}

/// A published collection with these points.
pub(crate) async fn published(store: &dyn VectorStore, points: Vec<Point>) -> Collection {
    let collection = fresh();
    store.prepare(&collection).await.unwrap();
    store.upsert(&collection, points).await.unwrap();
    store.publish(&collection).await.unwrap();
    collection
}

pub(crate) async fn listed(store: &dyn VectorStore, collection: &Collection, workspace: &WorkspaceId) -> Vec<StoredPoint> {
    store.list(collection, workspace).await.unwrap().try_collect().await.unwrap()
}

pub(crate) async fn points_are_found_by_nearness(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let at = |number, vector| point(&acme, number, vector, json!({ "text": "t" }));
    let points = vec![at(1, [0.0, 1.0, 0.0]), at(2, [1.0, 0.0, 0.0]), at(3, [1.0, 1.0, 0.0]), at(4, [-1.0, 0.0, 0.0])];
    let collection = published(store, points).await;
    let hits = store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], None, 10).await.unwrap();
    assert_eq!(numbers(&hits), [2, 3, 1, 4]);
    let expected = [1.0, 0.5_f32.sqrt(), 0.0, -1.0];
    assert!(hits.iter().zip(expected).all(|(hit, score)| (hit.score - score).abs() < 1e-5), "{hits:?}");
}

pub(crate) async fn a_condition_narrows_a_search(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let of = |number, payload| point(&acme, number, [1.0, number as f32, 0.0], payload);
    let points = vec![
        of(1, json!({ "text": "a", "lang": "en", "stars": 5, "price": 1.5, "done": true, "at": "2026-01-01T00:00:00Z" })),
        of(2, json!({ "text": "b", "lang": "de", "stars": 3, "price": -2.0, "done": false, "at": "2026-01-02T00:00:00Z" })),
        of(3, json!({ "text": "c", "lang": "o'hara", "stars": -1, "price": 0.25, "done": true, "at": "2026-01-03T00:00:00Z" })),
        of(4, json!({ "text": "d" })),
    ];
    let collection = published(store, points).await;
    let cases: [(&str, &[u128]); 22] = [
        ("lang = 'en'", &[1]),
        ("lang <> 'en'", &[2, 3]),
        ("lang = 'o''hara'", &[3]),
        ("lang = 'en' OR lang = 'de'", &[1, 2]),
        ("lang IN ('en', 'fr')", &[1]),
        ("lang NOT IN ('en', 'fr')", &[2, 3]),
        ("stars >= 3", &[1, 2]),
        ("stars < 3", &[3]),
        ("stars > 4.5", &[1]),
        ("NOT stars = 5", &[2, 3]),
        ("stars BETWEEN -1 AND 3", &[2, 3]),
        ("stars IN (5, -1)", &[1, 3]),
        ("price = 1.5", &[1]),
        ("price > 0", &[1, 3]),
        ("price NOT IN (0.25, 7)", &[1, 2]),
        ("done", &[1, 3]),
        ("NOT done", &[2]),
        ("at > '2026-01-01'", &[2, 3]),
        ("at = '2026-01-02T02:00:00+02:00'", &[2]),
        ("stars IS NULL", &[4]),
        ("stars IS NOT NULL AND (done OR price < 0)", &[1, 2, 3]),
        ("false", &[]),
    ];
    for (sql, expected) in cases {
        let condition = Condition::parse(sql, &collection.payload).unwrap();
        let hits = store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], Some(&condition), 10).await;
        assert_eq!(numbers(&hits.unwrap_or_else(|e| panic!("{sql}: {e}"))), expected, "{sql}");
    }
}

pub(crate) async fn a_point_replaces_the_one_with_its_id(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let of = |hash: &str, vector, payload| Point { hash: hash.into(), ..point(&acme, 1, vector, payload) };
    let collection = published(store, vec![of("aa", [1.0, 0.0, 0.0], json!({ "text": "old", "lang": "en" }))]).await;
    let twice = vec![
        of("bb", [0.0, 0.0, 1.0], json!({ "text": "newer", "stars": 1 })),
        of("cc", [0.0, 1.0, 0.0], json!({ "text": "newest", "stars": 2 })),
    ];
    store.upsert(&collection, twice).await.unwrap();
    assert_eq!(store.count(&collection, &acme).await.unwrap(), 1);
    assert_eq!(listed(store, &collection, &acme).await, [StoredPoint { id: Uuid::from_u128(1), hash: "cc".into() }]);
    let hits = store.search(&collection.name, &acme, &[0.0, 1.0, 0.0], None, 10).await.unwrap();
    assert_eq!((hits.len(), &hits[0].payload["text"], &hits[0].payload["stars"]), (1, &json!("newest"), &json!(2)));
    assert!(hits[0].score > 0.999);
    // Nothing of the old payload stays.
    assert!(hits[0].payload.get("lang").is_none_or(Value::is_null), "{hits:?}");
}

pub(crate) async fn a_search_keeps_its_limit(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let points = (1..=20).map(|n| point(&acme, n, [1.0, n as f32, 0.0], json!({ "text": "t" }))).collect();
    let collection = published(store, points).await;
    for limit in [1, 7, 20, 1_000] {
        let hits = store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], None, limit).await.unwrap();
        assert_eq!(numbers(&hits), (1..=20).take(limit).collect::<Vec<_>>());
    }
}

pub(crate) async fn deleted_points_are_gone(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let points = (1..=5).map(|n| point(&acme, n, [1.0, n as f32, 0.0], json!({ "text": "t" }))).collect();
    let collection = published(store, points).await;
    store.delete(&collection, &acme, &[2, 4, 99].map(Uuid::from_u128)).await.unwrap();
    store.delete(&collection, &acme, &[Uuid::from_u128(2)]).await.unwrap();
    assert_eq!(store.count(&collection, &acme).await.unwrap(), 3);
    let hits = store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], None, 10).await.unwrap();
    assert_eq!(numbers(&hits), [1, 3, 5]);
}

/// Names that would break out of a filter, a path or a pattern.
fn names() -> Vec<String> {
    let fixed = [
        "acme",
        "Acme",
        "acme2",
        "acm",
        "a\"c'me",
        "' OR '1'='1",
        "../acme",
        "acme/../beta",
        "%2E%2E",
        "*",
        "acme*",
        "å/😀",
        "null",
    ];
    let long = ["x".repeat(200), format!("{}y", "x".repeat(199))];
    fixed.into_iter().map(str::to_owned).chain(long).collect()
}

pub(crate) async fn a_workspace_reaches_no_points_of_others(store: &dyn VectorStore) {
    let workspaces: Vec<WorkspaceId> = names().iter().map(|name| workspace(name)).collect();
    let numbered: Vec<(u128, &WorkspaceId)> = (1..).zip(&workspaces).collect();
    // All in the same direction: only the workspace tells them apart.
    let points = numbered.iter().map(|(n, w)| point(w, *n, [1.0, 0.0, 0.0], json!({ "text": w.as_str(), "lang": "en" })));
    let collection = published(store, points.collect()).await;
    let condition = Condition::parse("lang = 'en' OR lang <> 'en' OR lang IS NULL OR true", &collection.payload).unwrap();
    let all_ids: Vec<Uuid> = numbered.iter().map(|(n, _)| Uuid::from_u128(*n)).collect();
    for (number, own) in &numbered {
        for condition in [None, Some(&condition)] {
            let hits = store.search(&collection.name, own, &[1.0, 0.0, 0.0], condition, 100).await.unwrap();
            assert_eq!(numbers(&hits), [*number], "{own}");
            assert_eq!(hits[0].payload["text"], json!(own.as_str()));
        }
        assert_eq!(store.count(&collection, own).await.unwrap(), 1, "{own}");
        let ids: Vec<u128> = listed(store, &collection, own).await.iter().map(|stored| stored.id.as_u128()).collect();
        assert_eq!(ids, [*number], "{own}");
    }
    let mut sorted = workspaces.clone();
    sorted.sort();
    assert_eq!(store.workspaces(&collection).await.unwrap(), sorted);

    let stranger = workspace("nobody");
    store.delete(&collection, &stranger, &all_ids).await.unwrap();
    assert_eq!(store.count(&collection, &stranger).await.unwrap(), 0);
    assert!(store.search(&collection.name, &stranger, &[1.0, 0.0, 0.0], None, 10).await.unwrap().is_empty());
    store.delete(&collection, &workspaces[0], &all_ids).await.unwrap();
    let left = store.workspaces(&collection).await.unwrap();
    assert_eq!(left.iter().collect::<BTreeSet<_>>(), workspaces[1..].iter().collect());
}

pub(crate) async fn a_listing_has_all_points_in_the_order_of_their_ids(store: &dyn VectorStore) {
    let (acme, beta) = (workspace("acme"), workspace("beta"));
    // Spread over the range of ids, so that no order of storing is theirs.
    let number = |n: u128| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let points = (1..=2_500)
        .map(|n| point(if n % 5 == 0 { &beta } else { &acme }, number(n), [1.0, n as f32, 0.0], json!({ "text": "t" })));
    let points: Vec<Point> = points.collect();
    let collection = published(store, points.clone()).await;
    for own in [&acme, &beta] {
        let of = points.iter().filter(|point| point.workspace == *own);
        let mut expected: Vec<_> = of.map(|point| StoredPoint { id: point.id, hash: point.hash.clone() }).collect();
        expected.sort();
        assert_eq!(store.count(&collection, own).await.unwrap(), expected.len() as u64);
        assert_eq!(listed(store, &collection, own).await, expected);
    }
}

pub(crate) async fn nothing_is_done_for_nothing(store: &dyn VectorStore) {
    let (acme, collection) = (workspace("acme"), published(store, vec![]).await);
    store.upsert(&collection, vec![]).await.unwrap();
    store.delete(&collection, &acme, &[]).await.unwrap();
    assert_eq!(store.count(&collection, &acme).await.unwrap(), 0);
    assert_eq!(listed(store, &collection, &acme).await, []);
    assert_eq!(store.workspaces(&collection).await.unwrap(), []);
    assert_eq!(store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], None, 10).await.unwrap(), []);
}

pub(crate) async fn preparing_again_keeps_what_is_there(store: &dyn VectorStore) {
    let (acme, collection) = (workspace("acme"), fresh());
    assert!(!store.prepare(&collection).await.unwrap());
    store.upsert(&collection, vec![point(&acme, 1, [1.0, 0.0, 0.0], json!({ "text": "t" }))]).await.unwrap();
    assert!(store.prepare(&collection).await.unwrap());
    assert_eq!(store.count(&collection, &acme).await.unwrap(), 1);
    // Before anything is published there is nothing to search.
    assert_eq!(store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], None, 1).await.unwrap_err().kind(), ErrorKind::NotFound);
}

pub(crate) async fn racing_preparations_all_succeed(store: &dyn VectorStore) {
    let collection = fresh();
    let prepared = futures::future::join_all((0..4).map(|_| store.prepare(&collection))).await;
    prepared.into_iter().collect::<Result<Vec<bool>, _>>().unwrap();
    store.publish(&collection).await.unwrap();
}

pub(crate) async fn publishing_swaps_generations_at_once(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let old = published(store, vec![point(&acme, 1, [1.0, 0.0, 0.0], json!({ "text": "old" }))]).await;
    let new = Collection { generation: "00000000000000b2".into(), ..old.clone() };
    let found = async || numbers(&store.search(&old.name, &acme, &[1.0, 0.0, 0.0], None, 10).await.unwrap());
    assert!(!store.prepare(&new).await.unwrap());
    store.upsert(&new, vec![point(&acme, 2, [1.0, 0.0, 0.0], json!({ "text": "new" }))]).await.unwrap();
    assert_eq!(found().await, [1]);
    assert_eq!((store.count(&old, &acme).await.unwrap(), store.count(&new, &acme).await.unwrap()), (1, 1));
    store.publish(&new).await.unwrap();
    assert_eq!(found().await, [2]);
    store.publish(&new).await.unwrap();
    assert_eq!(found().await, [2]);
    assert!(!store.prepare(&old).await.unwrap(), "the old generation is still there");
    assert_eq!(store.count(&old, &acme).await.unwrap(), 0);
}

pub(crate) async fn publishing_leaves_other_collections_alone(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let collection = published(store, vec![]).await;
    let named = |name: String| Collection { name, ..collection.clone() };
    let others =
        [named(format!("{}_b", collection.name)), named(format!("{}b", collection.name)), named(format!("x{}", collection.name))];
    for other in &others {
        store.prepare(other).await.unwrap();
        store.upsert(other, vec![point(&acme, 1, [1.0, 0.0, 0.0], json!({ "text": "t" }))]).await.unwrap();
    }
    store.publish(&others[0]).await.unwrap();
    let next = Collection { generation: "00000000000000b2".into(), ..collection.clone() };
    store.prepare(&next).await.unwrap();
    store.publish(&next).await.unwrap();
    for other in &others {
        assert_eq!(store.count(other, &acme).await.unwrap(), 1, "{}", other.name);
    }
    assert_eq!(store.search(&others[0].name, &acme, &[1.0, 0.0, 0.0], None, 10).await.unwrap().len(), 1);
}

pub(crate) async fn what_was_never_published_is_not_found(store: &dyn VectorStore) {
    let error = store.search(&fresh().name, &workspace("acme"), &[1.0, 0.0, 0.0], None, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

pub(crate) async fn a_missing_field_is_null(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let of = |number, payload| point(&acme, number, [1.0, number as f32, 0.0], payload);
    let points = vec![
        of(1, json!({ "text": "a", "lang": null, "stars": null, "done": null, "at": null, "price": null })),
        of(2, json!({ "text": "b" })),
        of(3, json!({ "text": "c", "lang": "", "stars": 0, "done": false, "at": "1970-01-01T00:00:00Z", "price": 0.0 })),
    ];
    let collection = published(store, points).await;
    for field in ["lang", "stars", "done", "at", "price"] {
        for (sql, expected) in [("IS NULL", &[1, 2][..]), ("IS NOT NULL", &[3])] {
            let condition = Condition::parse(&format!("{field} {sql}"), &collection.payload).unwrap();
            let hits = store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], Some(&condition), 10).await.unwrap();
            assert_eq!(numbers(&hits), expected, "{field} {sql}");
        }
    }
}

pub(crate) async fn other_dimensions_are_refused(store: &dyn VectorStore) {
    let collection = published(store, vec![]).await;
    let error = store.prepare(&Collection { dimensions: 4, ..collection }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

pub(crate) async fn payloads_come_back_as_they_were(store: &dyn VectorStore) {
    let acme = workspace("acme");
    let payload = json!({
        "text": "Größe \"5\" 😀\nzwei", "lang": "a'b", "stars": i64::MAX, "price": 0.1, "done": true, "tags": ["x", "y"],
    });
    let collection = published(store, vec![point(&acme, 1, [1.0, 0.0, 0.0], payload.clone())]).await;
    let hits = store.search(&collection.name, &acme, &[1.0, 0.0, 0.0], None, 1).await.unwrap();
    let present: Map<String, Value> = hits[0].payload.clone().into_iter().filter(|(_, value)| !value.is_null()).collect();
    assert_eq!(Value::Object(present), payload);
}
