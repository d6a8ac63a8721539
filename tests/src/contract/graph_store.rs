//! What every store of graphs promises. `graph_store_contract!` makes a test of each promise.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use lake::graph::{Edge, EdgeKey, Graph, GraphQuery, GraphStore, Node, NodeKey, Stored, Subgraph};
use lake::{ErrorKind, WorkspaceId};
use serde_json::{Map, Value, json};

/// Makes a test of each promise. The expression makes a store; it may hold other graphs already.
#[macro_export]
macro_rules! graph_store_contract {
    ($store:expr) => {
        $crate::graph_store_contract!(
            $store,
            an_upsert_replaces_and_gone_properties_go,
            an_edge_needs_its_ends,
            a_removed_node_takes_its_edges_along,
            keys_that_are_not_there_are_passed_over,
            listings_are_in_key_order_with_hashes,
            workspaces_are_apart,
            graphs_are_apart,
            neighbors_are_the_nearest,
            properties_keep_their_types,
            reserved_properties_are_never_overwritten,
            a_query_finds_what_it_describes,
            a_query_is_told_what_it_got_wrong,
            no_query_reaches_another_workspace_or_graph,
        );
    };
    ($store:expr, $($promise:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $promise() {
            let store = $store;
            $crate::contract::graph_store::$promise(&store).await;
        }
    )+};
}

/// A graph that nobody else has.
pub async fn fresh_graph(store: &dyn GraphStore) -> Graph {
    let name = format!("contract_{:016x}", rand::random::<u64>());
    let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    let graph = Graph { name, labels: names(["Post", "Person"]), kinds: names(["WROTE", "KNOWS"]) };
    store.prepare(&graph).await.unwrap();
    store.prepare(&graph).await.unwrap();
    graph
}

/// A workspace.
pub fn workspace(name: &str) -> WorkspaceId {
    WorkspaceId::new(name).unwrap()
}

/// A key of a node.
pub fn key(label: &str, id: &str) -> NodeKey {
    NodeKey { label: label.into(), id: id.into() }
}

/// A key of an edge, with nodes as `Person:alice`.
pub fn edge_key(from: &str, kind: &str, to: &str) -> EdgeKey {
    let end = |text: &str| text.split_once(':').map(|(label, id)| key(label, id)).unwrap();
    EdgeKey { kind: kind.into(), from: end(from), to: end(to) }
}

/// A node with properties; the hash is of their text.
pub fn node(label: &str, id: &str, properties: Value) -> Node {
    let (properties, hash) = properties_and_hash(properties);
    Node { key: key(label, id), properties, hash }
}

/// An edge with properties.
pub fn edge(from: &str, kind: &str, to: &str, properties: Value) -> Edge {
    let (properties, hash) = properties_and_hash(properties);
    Edge { key: edge_key(from, kind, to), properties, hash }
}

fn properties_and_hash(properties: Value) -> (Map<String, Value>, String) {
    let hash =
        format!("{:x}", properties.to_string().bytes().fold(7_u64, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into())));
    let Value::Object(properties) = properties else { return (Map::new(), hash) };
    (properties, hash)
}

async fn listed_nodes(store: &dyn GraphStore, graph: &Graph, workspace: &WorkspaceId) -> Vec<Stored<NodeKey>> {
    store.nodes(graph, workspace).await.unwrap().try_collect().await.unwrap()
}

async fn listed_edges(store: &dyn GraphStore, graph: &Graph, workspace: &WorkspaceId) -> Vec<Stored<EdgeKey>> {
    store.edges(graph, workspace).await.unwrap().try_collect().await.unwrap()
}

/// All of a node, as the store has it.
async fn stored(store: &dyn GraphStore, graph: &Graph, workspace: &WorkspaceId, key: &NodeKey) -> Subgraph {
    store.neighbors(graph, workspace, key, 0, 10).await.unwrap()
}

async fn asked(store: &dyn GraphStore, graph: &Graph, workspace: &WorkspaceId, query: &str) -> Value {
    let query = GraphQuery::parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let rows = store.query(graph, workspace, &query, 1_000).await.unwrap();
    Value::Array(rows.into_iter().map(Value::Object).collect())
}

/// Two people, two posts, and who wrote and knows whom.
async fn small_world(store: &dyn GraphStore, graph: &Graph, workspace: &WorkspaceId) {
    let nodes = vec![
        node("Person", "alice", json!({"name": "Alice", "age": 30})),
        node("Person", "bob", json!({"name": "Bob", "age": 25, "nick": "bobby"})),
        node("Post", "1", json!({"title": "first", "likes": 3})),
        node("Post", "2", json!({"title": "second", "likes": 5})),
    ];
    let edges = vec![
        edge("Person:alice", "WROTE", "Post:1", json!({"at": 1})),
        edge("Person:bob", "WROTE", "Post:2", json!({"at": 2})),
        edge("Person:alice", "KNOWS", "Person:bob", json!({})),
    ];
    store.upsert_nodes(graph, workspace, nodes).await.unwrap();
    store.upsert_edges(graph, workspace, edges).await.unwrap();
}

/// What is stored twice is there once, as it was stored last; edges stay.
pub async fn an_upsert_replaces_and_gone_properties_go(store: &dyn GraphStore) {
    let (graph, acme) = (fresh_graph(store).await, workspace("acme"));
    small_world(store, &graph, &acme).await;
    small_world(store, &graph, &acme).await;
    assert_eq!((listed_nodes(store, &graph, &acme).await.len(), listed_edges(store, &graph, &acme).await.len()), (4, 3));
    let bob = node("Person", "bob", json!({"name": "Robert"}));
    store.upsert_nodes(&graph, &acme, vec![node("Person", "bob", json!({"name": "passing"})), bob.clone()]).await.unwrap();
    let knows = edge("Person:alice", "KNOWS", "Person:bob", json!({"since": 2020}));
    store.upsert_edges(&graph, &acme, vec![knows.clone()]).await.unwrap();
    assert_eq!(stored(store, &graph, &acme, &bob.key).await.nodes, std::slice::from_ref(&bob));
    let near = store.neighbors(&graph, &acme, &bob.key, 1, 10).await.unwrap();
    assert_eq!(near.edges.iter().find(|edge| edge.key == knows.key), Some(&knows));
    store.upsert_edges(&graph, &acme, vec![edge("Person:alice", "KNOWS", "Person:bob", json!({}))]).await.unwrap();
    let near = store.neighbors(&graph, &acme, &bob.key, 1, 10).await.unwrap();
    assert!(near.edges.iter().all(|edge| !edge.properties.contains_key("since")));
    assert_eq!(listed_edges(store, &graph, &acme).await.len(), 3);
    store.upsert_nodes(&graph, &acme, vec![]).await.unwrap();
    store.upsert_edges(&graph, &acme, vec![]).await.unwrap();
}

/// An edge to nowhere is an error that says how many there are, and no such edge is stored.
pub async fn an_edge_needs_its_ends(store: &dyn GraphStore) {
    let (graph, acme, other) = (fresh_graph(store).await, workspace("acme"), workspace("other"));
    small_world(store, &graph, &acme).await;
    store.upsert_nodes(&graph, &other, vec![node("Person", "carol", json!({}))]).await.unwrap();
    let edges = vec![
        edge("Person:alice", "KNOWS", "Person:carol", json!({})),
        edge("Post:alice", "KNOWS", "Person:bob", json!({})),
        edge("Person:bob", "KNOWS", "Person:nobody", json!({})),
    ];
    let error = store.upsert_edges(&graph, &acme, edges).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Storage | ErrorKind::Data), "{error}");
    assert!(error.to_string().contains("1 of 1") || error.to_string().contains("of "), "{error}");
    assert_eq!(listed_edges(store, &graph, &acme).await.len(), 3);
    assert_eq!(listed_edges(store, &graph, &other).await, []);
}

/// Both the edges that start there and those that end there go.
pub async fn a_removed_node_takes_its_edges_along(store: &dyn GraphStore) {
    let (graph, acme) = (fresh_graph(store).await, workspace("acme"));
    small_world(store, &graph, &acme).await;
    store.delete_nodes(&graph, &acme, &[key("Person", "bob")]).await.unwrap();
    let left: Vec<EdgeKey> = listed_edges(store, &graph, &acme).await.into_iter().map(|edge| edge.key).collect();
    assert_eq!(left, [edge_key("Person:alice", "WROTE", "Post:1")]);
    assert_eq!(listed_nodes(store, &graph, &acme).await.len(), 3);
}

/// Removing again, or what never was, changes nothing.
pub async fn keys_that_are_not_there_are_passed_over(store: &dyn GraphStore) {
    let (graph, acme) = (fresh_graph(store).await, workspace("acme"));
    small_world(store, &graph, &acme).await;
    let (known, unknown) = (edge_key("Person:alice", "KNOWS", "Person:bob"), edge_key("Person:bob", "KNOWS", "Person:alice"));
    for _ in 0..2 {
        store.delete_edges(&graph, &acme, &[unknown.clone(), known.clone()]).await.unwrap();
        store.delete_nodes(&graph, &acme, &[key("Person", "nobody"), key("Post", "alice"), key("Post", "2")]).await.unwrap();
    }
    assert_eq!((listed_nodes(store, &graph, &acme).await.len(), listed_edges(store, &graph, &acme).await.len()), (3, 1));
    store.delete_edges(&graph, &acme, &[]).await.unwrap();
    store.delete_nodes(&graph, &acme, &[]).await.unwrap();
}

/// More than a store gives at once, with ids whose order is easily got wrong.
pub async fn listings_are_in_key_order_with_hashes(store: &dyn GraphStore) {
    let (graph, acme) = (fresh_graph(store).await, workspace("acme"));
    let odd = [
        "", " ", "A", "a", "a ", "Z", "é", "e\u{301}", "\u{ffee}", "😀", "a'b", "a`b", "a\"b\\", "10", "9", "a\nb", "$id",
        "\u{1f}",
    ];
    let mut nodes: Vec<Node> = odd.iter().map(|id| node("Person", id, json!({"odd": id}))).collect();
    nodes.extend((0..4_100).map(|i| node("Post", &format!("{}", (i * 7_919) % 4_100), json!({"i": i}))));
    let mut edges: Vec<Edge> =
        (0..4_100).map(|i| edge(&format!("Person:{}", odd[i % 3]), "WROTE", &format!("Post:{i}"), json!({"i": i}))).collect();
    // So many that those with the oddest ids are where a store of 1,000 or 5,000 a page turns one.
    let many: Vec<String> = (0..4_983).map(|i| format!("p{i:04}")).collect();
    nodes.extend(many.iter().map(|id| node("Person", id, json!({}))));
    edges.extend(many.iter().map(|id| edge("Post:1", "WROTE", &format!("Person:{id}"), json!({}))));
    edges.extend(odd.iter().map(|id| edge("Post:1", "WROTE", &format!("Person:{id}"), json!({}))));
    edges.extend(odd.iter().map(|id| edge(&format!("Person:{id}"), "KNOWS", &format!("Person:{id}"), json!({"self": true}))));
    edges.extend(odd.iter().map(|id| edge(&format!("Person:{id}"), "KNOWS", "Post:7", json!({}))));
    store.upsert_nodes(&graph, &acme, nodes.clone()).await.unwrap();
    store.upsert_edges(&graph, &acme, edges.clone()).await.unwrap();
    let mut expected: Vec<_> = nodes.into_iter().map(|node| Stored { key: node.key, hash: node.hash }).collect();
    expected.sort();
    let found = listed_nodes(store, &graph, &acme).await;
    assert_eq!(found.iter().zip(&expected).find(|(found, expected)| found != expected), None);
    assert_eq!(found.len(), expected.len());
    let mut expected: Vec<_> = edges.into_iter().map(|edge| Stored { key: edge.key, hash: edge.hash }).collect();
    expected.sort();
    let found = listed_edges(store, &graph, &acme).await;
    assert_eq!(found.iter().zip(&expected).find(|(found, expected)| found != expected), None);
    assert_eq!(found.len(), expected.len());
    store.delete_nodes(&graph, &acme, &found.into_iter().map(|edge| edge.key.to).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(listed_edges(store, &graph, &acme).await, []);
}

/// Names that would be something else to a store that builds its questions from text.
const WORKSPACES: [&str; 9] =
    ["acme", "Acme", "acme'", "acme' OR '1'='1", "a\\", "$workspace", "acme`}) MATCH (n) //", "\\u0027 OR 1=1", "*"];

/// The same ids in many workspaces: what is done in one is not seen in another.
pub async fn workspaces_are_apart(store: &dyn GraphStore) {
    let graph = fresh_graph(store).await;
    for name in WORKSPACES {
        let nodes = vec![node("Person", "x", json!({"of": name})), node("Person", name, json!({"of": name}))];
        store.upsert_nodes(&graph, &workspace(name), nodes).await.unwrap();
        let knows = edge("Person:x", "KNOWS", &format!("Person:{name}"), json!({"of": name}));
        store.upsert_edges(&graph, &workspace(name), vec![knows]).await.unwrap();
    }
    let mut all: Vec<WorkspaceId> = WORKSPACES.map(workspace).to_vec();
    all.sort();
    assert_eq!(store.workspaces(&graph).await.unwrap(), all);
    let acme = workspace("acme");
    store.upsert_nodes(&graph, &acme, vec![node("Person", "x", json!({"of": "changed"}))]).await.unwrap();
    for name in WORKSPACES.into_iter().skip(1) {
        let own = workspace(name);
        let near = store.neighbors(&graph, &own, &key("Person", "x"), 5, 100).await.unwrap();
        assert_eq!((near.nodes.len(), near.edges.len()), (2, 1), "{name}");
        assert!(
            near.nodes.iter().map(|n| &n.properties).chain(near.edges.iter().map(|e| &e.properties)).all(|p| p["of"] == name)
        );
        let of = asked(store, &graph, &own, "MATCH (a)-[*0..3]-(b) RETURN DISTINCT a.of AS a, b.of AS b").await;
        assert_eq!(of, json!([{"a": name, "b": name}]));
    }
    store.delete_edges(&graph, &acme, &[edge_key("Person:x", "KNOWS", "Person:acme")]).await.unwrap();
    store.delete_nodes(&graph, &acme, &[key("Person", "x"), key("Person", "acme")]).await.unwrap();
    assert_eq!(listed_nodes(store, &graph, &acme).await, []);
    for name in WORKSPACES.into_iter().skip(1) {
        let own = workspace(name);
        assert_eq!(
            (listed_nodes(store, &graph, &own).await.len(), listed_edges(store, &graph, &own).await.len()),
            (2, 1),
            "{name}"
        );
    }
    assert!(!store.workspaces(&graph).await.unwrap().contains(&acme));
}

/// Graphs of two pipelines share a store, workspaces, labels and ids, and nothing else.
pub async fn graphs_are_apart(store: &dyn GraphStore) {
    let (one, two, acme) = (fresh_graph(store).await, fresh_graph(store).await, workspace("acme"));
    small_world(store, &one, &acme).await;
    assert_eq!(listed_nodes(store, &two, &acme).await, []);
    assert_eq!(store.workspaces(&two).await.unwrap(), []);
    assert_eq!(stored(store, &two, &acme, &key("Person", "bob")).await, Subgraph::default());
    assert!(store.upsert_edges(&two, &acme, vec![edge("Person:alice", "KNOWS", "Person:bob", json!({}))]).await.is_err());
    store.upsert_nodes(&two, &acme, vec![node("Person", "bob", json!({"name": "other"}))]).await.unwrap();
    assert_eq!(asked(store, &two, &acme, "MATCH (n) RETURN n.name AS name").await, json!([{"name": "other"}]));
    store.delete_nodes(&two, &acme, &[key("Person", "bob"), key("Person", "alice")]).await.unwrap();
    assert_eq!((listed_nodes(store, &one, &acme).await.len(), listed_edges(store, &one, &acme).await.len()), (4, 3));
}

/// Steps are counted whichever way edges point; of equally near nodes the first by key come.
pub async fn neighbors_are_the_nearest(store: &dyn GraphStore) {
    let (graph, acme) = (fresh_graph(store).await, workspace("acme"));
    // A chain whose edges point now here, now there, with a hub at its start and a circle at its end.
    let mut nodes: Vec<Node> = (0..6).map(|i| node("Person", &format!("{i}"), json!({"i": i}))).collect();
    nodes.extend((10..20).map(|i| node("Post", &format!("{i}"), json!({}))));
    let mut edges: Vec<Edge> = (10..20).map(|i| edge("Person:0", "WROTE", &format!("Post:{i}"), json!({}))).collect();
    edges.push(edge("Person:0", "KNOWS", "Person:1", json!({"a": 1})));
    edges.push(edge("Person:2", "KNOWS", "Person:1", json!({})));
    edges.push(edge("Person:2", "KNOWS", "Person:3", json!({})));
    edges.push(edge("Person:3", "KNOWS", "Person:3", json!({})));
    edges.push(edge("Person:3", "KNOWS", "Person:2", json!({})));
    store.upsert_nodes(&graph, &acme, nodes).await.unwrap();
    store.upsert_edges(&graph, &acme, edges).await.unwrap();
    let near = async |id: &str, depth, limit| {
        let found = store.neighbors(&graph, &acme, &key("Person", id), depth, limit).await.unwrap();
        let keys: Vec<NodeKey> = found.nodes.iter().map(|node| node.key.clone()).collect();
        assert!(keys.is_sorted() && found.edges.is_sorted_by_key(|edge| edge.key.clone()));
        let known: BTreeSet<&NodeKey> = keys.iter().collect();
        assert!(found.edges.iter().all(|edge| known.contains(&edge.key.from) && known.contains(&edge.key.to)));
        (keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>().join(" "), found.edges.len())
    };
    assert_eq!(near("1", 0, 10).await, ("1".into(), 0));
    assert_eq!(near("3", 0, 10).await, ("3".into(), 1));
    assert_eq!(near("1", 1, 10).await, ("0 1 2".into(), 2));
    assert_eq!(near("2", 1, 10).await, ("1 2 3".into(), 4));
    assert_eq!(near("3", 3, 100).await, ("0 1 2 3".into(), 5));
    assert_eq!(near("1", 2, 6).await, ("0 1 2 3 10 11".into(), 7));
    assert_eq!(near("1", 50, 1_000).await, ("0 1 2 3 10 11 12 13 14 15 16 17 18 19".into(), 15));
    assert_eq!(near("1", 5, 2).await, ("0 1".into(), 1));
    assert_eq!(near("1", 5, 0).await, (String::new(), 0));
    assert_eq!(near("5", 5, 10).await, ("5".into(), 0));
    assert_eq!(near("none", 5, 10).await, (String::new(), 0));
    let strange = store.neighbors(&graph, &acme, &key("Nothing`) MATCH (n", "0"), 5, 10).await;
    assert!(strange.is_err() || strange.unwrap() == Subgraph::default());
}

/// Texts, numbers, truth values and lists of these come back as they were, of nodes and of edges.
pub async fn properties_keep_their_types(store: &dyn GraphStore) {
    let (graph, acme) = (fresh_graph(store).await, workspace("acme"));
    let properties = json!({
        "text": "it's \"`\\ 😀\n", "empty": "", "integer": 42, "largest": i64::MAX, "least": i64::MIN, "minus": -1, "minuses": [-17, -16, -1, 0, 240, 255], "float": 0.1, "whole": 1.0, "tiny": -1e-300,
        "true": true, "false": false, "texts": ["b", "", "a"], "integers": [3, 1, 2], "floats": [1.5, 2.0], "truths": [true, false],
        "none": [], "with space": 1, "Ünï": 1, "quo`te'": 1, "$dollar": 1, "MATCH": 1, "label": "x", "hash": "y", "properties": "z",
        "long": "x".repeat(100_000),
    });
    let bob = node("Person", "bob", properties.clone());
    store.upsert_nodes(&graph, &acme, vec![bob.clone(), node("Person", "alice", json!({}))]).await.unwrap();
    let knows = edge("Person:alice", "KNOWS", "Person:bob", properties.clone());
    store.upsert_edges(&graph, &acme, vec![knows.clone()]).await.unwrap();
    let near = store.neighbors(&graph, &acme, &bob.key, 1, 10).await.unwrap();
    assert_eq!(near.nodes[1], bob);
    assert_eq!(near.edges, [knows]);
    let found = asked(store, &graph, &acme, "MATCH (a)-[r:KNOWS]->(b) RETURN b, r, b.texts AS texts, b.whole AS whole").await;
    let end = |id: &str| json!({"label": "Person", "id": id});
    let r = json!({"type": "KNOWS", "from": end("alice"), "to": end("bob"), "properties": properties.clone()});
    let b = json!({"label": "Person", "id": "bob", "properties": properties});
    assert_eq!(found, json!([{"b": b, "r": r, "texts": ["b", "", "a"], "whole": 1.0}]));
}

/// A property whose name the store needs does not count.
pub async fn reserved_properties_are_never_overwritten(store: &dyn GraphStore) {
    let (graph, acme, other) = (fresh_graph(store).await, workspace("acme"), workspace("other"));
    let evil = json!({"id": "stolen", "workspace_id": "other", "_graph": "other", "_hash": "0", "_x": 1, "name": "kept"});
    let (bob, knows) = (node("Person", "bob", evil.clone()), edge("Person:bob", "KNOWS", "Person:bob", evil));
    store.upsert_nodes(&graph, &acme, vec![bob.clone()]).await.unwrap();
    store.upsert_edges(&graph, &acme, vec![knows.clone()]).await.unwrap();
    assert_eq!(listed_nodes(store, &graph, &acme).await, [Stored { key: bob.key, hash: bob.hash }]);
    assert_eq!(listed_edges(store, &graph, &acme).await, [Stored { key: knows.key, hash: knows.hash }]);
    assert_eq!(listed_nodes(store, &graph, &other).await, []);
    let found = asked(store, &graph, &acme, "MATCH (a)-[r]->() RETURN a, a.id AS id, r.name AS name").await;
    assert_eq!(
        found,
        json!([{"a": {"label": "Person", "id": "bob", "properties": {"name": "kept"}}, "id": "bob", "name": "kept"}])
    );
}

/// Each part of the language does what it does in Cypher.
pub async fn a_query_finds_what_it_describes(store: &dyn GraphStore) {
    let (graph, acme) = (fresh_graph(store).await, workspace("acme"));
    small_world(store, &graph, &acme).await;
    let names = async |query: &str| asked(store, &graph, &acme, query).await;
    let cases = [
        (
            "MATCH (p:Person)-[:WROTE]->(t:Post) RETURN p.name, t.title AS title ORDER BY title",
            json!([{"p.name": "Alice", "title": "first"}, {"p.name": "Bob", "title": "second"}]),
        ),
        ("match (p:Person {name: 'Bob'}) return p.age as age", json!([{"age": 25}])),
        ("MATCH (t:Post)<-[:WROTE]-(p) WHERE t.likes > 3 RETURN p.id", json!([{"p.id": "bob"}])),
        ("MATCH (a)-[:KNOWS]-(b) RETURN a.id ORDER BY a.id DESC", json!([{"a.id": "bob"}, {"a.id": "alice"}])),
        ("MATCH (a)-->(b) RETURN count(*)", json!([{"count(*)": 3}])),
        ("MATCH (a)<--(b) RETURN count(DISTINCT b) AS n", json!([{"n": 2}])),
        ("MATCH (a)--(b) RETURN count(a)", json!([{"count(a)": 6}])),
        (
            "MATCH (a {id: 'alice'})-[*1..2]->(b) RETURN b.id ORDER BY b.id",
            json!([{"b.id": "1"}, {"b.id": "2"}, {"b.id": "bob"}]),
        ),
        ("MATCH (a {id: 'alice'})-[:KNOWS|WROTE*2]->(b) RETURN b.id", json!([{"b.id": "2"}])),
        ("MATCH (a {id: 'alice'})-[*0..0]->(b) RETURN b.id", json!([{"b.id": "alice"}])),
        ("MATCH (a:Person) WHERE a.nick IS NULL RETURN a.id", json!([{"a.id": "alice"}])),
        ("MATCH (a:Person) WHERE a.nick IS NOT NULL RETURN a.id", json!([{"a.id": "bob"}])),
        ("MATCH (a:Person) WHERE NOT a.nick = 'x' RETURN a.id", json!([{"a.id": "bob"}])),
        (
            "MATCH (a) WHERE a.likes IN [5, 6] OR a.name STARTS WITH 'Al' RETURN a.id ORDER BY a.id",
            json!([{"a.id": "2"}, {"a.id": "alice"}]),
        ),
        ("MATCH (a) WHERE a.name ENDS WITH 'ce' AND a.name CONTAINS 'li' RETURN labels(a) AS l", json!([{"l": ["Person"]}])),
        ("MATCH (a:Person|Post) RETURN count(a) AS n", json!([{"n": 4}])),
        (
            "MATCH ()-[r]->() RETURN type(r) AS t, count(*) AS n ORDER BY n DESC, t",
            json!([{"t": "WROTE", "n": 2}, {"t": "KNOWS", "n": 1}]),
        ),
        (
            "MATCH ()-[r]->() WHERE type(r) = 'KNOWS' RETURN r",
            json!([{"r": {"type": "KNOWS", "from": {"label": "Person", "id": "alice"}, "to": {"label": "Person", "id": "bob"}, "properties": {}}}]),
        ),
        (
            "MATCH (t:Post) RETURN sum(t.likes) AS s, min(t.likes) AS a, max(t.title) AS b, avg(t.likes) AS m",
            json!([{"s": 8, "a": 3, "b": "second", "m": 4.0}]),
        ),
        ("MATCH (p:Person)-[:KNOWS]->(q) RETURN p.id, collect(q.name) AS known", json!([{"p.id": "alice", "known": ["Bob"]}])),
        ("MATCH (p:Person) MATCH (p)-[:WROTE]->(t) RETURN p.id ORDER BY t.likes DESC SKIP 1 LIMIT 1", json!([{"p.id": "alice"}])),
        ("MATCH (a:Person), (b:Person) WHERE a <> b RETURN a.id ORDER BY a.id", json!([{"a.id": "alice"}, {"a.id": "bob"}])),
        (
            "MATCH (a:Person)-[r]->(b), (a)-[s]->(c) RETURN a.id, type(r) AS t ORDER BY t",
            json!([{"a.id": "alice", "t": "KNOWS"}, {"a.id": "alice", "t": "WROTE"}]),
        ),
        ("MATCH (t:Post) WHERE t.likes >= 3.0 AND t.likes < 4.5 RETURN t.id;", json!([{"t.id": "1"}])),
        ("MATCH (t:Post) WHERE t.likes > 'a' OR t.title < 1 RETURN t.id", json!([])),
        (
            "MATCH (n:Person {name: 'Nobody'}) RETURN count(n) AS n, sum(n.age) AS s, max(n.age) AS m, collect(n) AS l",
            json!([{"n": 0, "s": 0, "m": null, "l": []}]),
        ),
        ("MATCH ()-[r {at: 2}]->() RETURN r.at", json!([{"r.at": 2}])),
        ("MATCH (a:Person) RETURN DISTINCT labels(a) AS l", json!([{"l": ["Person"]}])),
        ("MATCH (a) RETURN a.nick AS nick ORDER BY nick LIMIT 2", json!([{"nick": "bobby"}, {"nick": null}])),
    ];
    for (query, expected) in cases {
        assert_eq!(names(query).await, expected, "{query}");
    }
    let query = GraphQuery::parse("MATCH (a) RETURN a.id LIMIT 3").unwrap();
    for (limit, rows) in [(0, 0), (2, 2), (100, 3)] {
        assert_eq!(store.query(&graph, &acme, &query, limit).await.unwrap().len(), rows);
    }
}

/// A label or type that the graph does not have is an error that names those it has.
pub async fn a_query_is_told_what_it_got_wrong(store: &dyn GraphStore) {
    let (graph, acme) = (fresh_graph(store).await, workspace("acme"));
    for (query, hint) in [("MATCH (a:Persn) RETURN a", "`Person`"), ("MATCH ()-[r:WRITES]->() RETURN r", "`WROTE`")] {
        let error = store.query(&graph, &acme, &GraphQuery::parse(query).unwrap(), 10).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Query);
        assert!(error.hint().is_some_and(|said| said.contains(hint)), "{error}");
    }
}

/// Texts that would lead out of a question that is built from text. Each is tried as a whole query, and as a value in one.
const ESCAPES: [&str; 22] = [
    "x' RETURN 1 AS one UNION MATCH (n) RETURN n //",
    "x\" OR 1=1 //",
    "x`}) MATCH (n) RETURN n //",
    "\\u0027 OR true //",
    "\\",
    "'}) MATCH (secret) RETURN secret /*",
    "MATCH (n) RETURN n UNION MATCH (m) RETURN m",
    "MATCH (n) CALL { MATCH (m) RETURN m } RETURN m",
    "CALL db.labels()",
    "CALL apoc.cypher.run('MATCH (n) RETURN n', {})",
    "USE neo4j MATCH (n) RETURN n",
    "MATCH (n {workspace_id: 'victim'}) RETURN n",
    "MATCH (n {`workspace_id`: 'victim'}) RETURN n",
    "MATCH (n) WHERE n.workspace_id = 'victim' RETURN n",
    "MATCH (n) WHERE n._graph = 'victim' RETURN n._hash",
    "MATCH (n) WHERE n.name = $workspace RETURN n",
    "MATCH (n) WHERE EXISTS { MATCH (m) } RETURN n",
    "MATCH (n) RETURN [(n)--(m) | m] AS m",
    "MATCH (n) WITH n MATCH (m) RETURN m",
    "MATCH (n) RETURN properties(n), keys(n)",
    "MATCH p = (n)--(m) RETURN p",
    "MATCH (n) DETACH DELETE n",
];

/// What the victim has is not found by any query, whatever it and its values say.
pub async fn no_query_reaches_another_workspace_or_graph(store: &dyn GraphStore) {
    let (graph, other_graph) = (fresh_graph(store).await, fresh_graph(store).await);
    let (acme, victim) = (workspace("acme"), workspace("victim"));
    small_world(store, &graph, &acme).await;
    let secret = || vec![node("Person", "secret", json!({"name": "secret"})), node("Person", "alice", json!({"name": "secret"}))];
    for (graph, workspace) in [(&graph, &victim), (&other_graph, &acme)] {
        store.upsert_nodes(graph, workspace, secret()).await.unwrap();
        let edges = vec![edge("Person:secret", "KNOWS", "Person:alice", json!({"name": "secret"}))];
        store.upsert_edges(graph, workspace, edges).await.unwrap();
    }
    let broad = [
        "MATCH (n) RETURN n",
        "MATCH (n:Person) WHERE NOT n.id = '' OR n.id = '' RETURN n",
        "MATCH (n)-[r]-(m) RETURN n, r, m",
        "MATCH (n)-[*0..5]-(m) RETURN n, m",
        "MATCH (n), (m) RETURN n, m",
        "MATCH (n)-[*1..3 {name: 'secret'}]-(m) RETURN n",
        "MATCH (n {name: 'secret'}) RETURN n",
        "MATCH ()-[r]->() RETURN collect(r) AS r",
        "MATCH (n) RETURN collect(n) AS n, max(n.name) AS m",
    ];
    for query in broad {
        let found = asked(store, &graph, &acme, query).await;
        assert!(!found.to_string().contains("secret"), "{query}: {found}");
    }
    for text in ESCAPES {
        if let Ok(query) = GraphQuery::parse(text) {
            let found = store.query(&graph, &acme, &query, 100).await;
            panic!("`{text}` was understood, and gave {found:?}");
        }
        let value = format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        for query in [
            format!("MATCH (n {{name: {value}}}) RETURN n"),
            format!("MATCH (n) WHERE n.name = {value} OR n.name IN [{value}] OR n.name STARTS WITH {value} RETURN n"),
        ] {
            assert_eq!(asked(store, &graph, &acme, &query).await, json!([]), "{query}");
        }
        // As an id and a property it is stored and found as it is.
        let (evil, own) = (node("Person", text, json!({"name": text})), workspace("escapes"));
        store.upsert_nodes(&graph, &own, vec![evil.clone()]).await.unwrap();
        let found = asked(store, &graph, &own, &format!("MATCH (n {{id: {value}}}) RETURN n.name AS name")).await;
        assert_eq!(found, json!([{"name": text}]));
        assert_eq!(stored(store, &graph, &own, &evil.key).await.nodes, std::slice::from_ref(&evil));
        store.delete_nodes(&graph, &own, &[evil.key]).await.unwrap();
    }
    assert_eq!(listed_nodes(store, &graph, &victim).await.len(), 2);
    // A label in place of another name reaches nothing either.
    let evil = Graph { labels: vec!["Person`) MATCH (m".into()], ..graph.clone() };
    let query = GraphQuery::parse("MATCH (n) RETURN n").unwrap();
    if let Ok(found) = store.query(&evil, &acme, &query, 100).await {
        assert!(!json!(found).to_string().contains("secret"));
    }
}
