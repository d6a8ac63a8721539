use super::*;

fn graph() -> Graph {
    let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    Graph { name: "g".into(), labels: names(["Person", "Post"]), kinds: names(["KNOWS", "WROTE"]) }
}

fn cypher(query: &str) -> (String, Vec<Value>) {
    let (text, parameters) = GraphQuery::parse(query).unwrap().to_cypher(&graph(), 7).unwrap();
    (text, parameters.into_iter().map(|(_, value)| value).collect())
}

fn refusal(query: &str) -> (String, String) {
    let error = GraphQuery::parse(query).expect_err(query);
    assert_eq!(error.kind(), ErrorKind::Query);
    (error.to_string(), error.hint().unwrap_or_default().to_owned())
}

const BOUND: &str = "{_graph: $graph, workspace_id: $workspace}";

#[test]
fn every_node_and_edge_is_bound_to_the_workspace_and_the_graph() {
    let (text, parameters) = cypher("MATCH (a)-[r:WROTE]->(b:Post {id: '1'}) RETURN a.name AS n");
    let expected = "MATCH (`a`:`Person`|`Post` {_graph: $graph, workspace_id: $workspace})\
        -[`r`:`WROTE` {_graph: $graph, workspace_id: $workspace}]->(`b`:`Post` {_graph: $graph, workspace_id: $workspace, `id`: $p0}) \
        WITH `a`.`name` AS c0 SKIP $p1 LIMIT $p2 RETURN ";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(parameters, ["1".into(), 0.into(), Value::from(7)]);
    for query in ["MATCH (a), (b)--() RETURN a", "MATCH ()-[*1..3]-()-[x]-() RETURN x"] {
        let (text, _) = cypher(query);
        let patterns = text.split("WITH").next().unwrap().split(" WHERE ").next().unwrap();
        assert_eq!(text.matches(BOUND).count(), query.matches('(').count() + query.matches('-').count() / 2, "{text}");
        assert_eq!(patterns.matches(['(', '[']).count(), patterns.matches(BOUND).count(), "{text}");
    }
}

#[test]
fn what_lies_on_a_long_path_is_bound_too() {
    let (text, _) = cypher("MATCH (a)-[:KNOWS*..3]->(b) WHERE a.x = 1 OR b.x = 2 RETURN b");
    assert!(text.contains("`_p0` = (`a`"), "{text}");
    assert!(text.contains(":`KNOWS`*1..3 {_graph: $graph, workspace_id: $workspace}]"), "{text}");
    let bound = "x._graph = $graph AND x.workspace_id = $workspace";
    let guards = format!("WHERE all(x IN nodes(`_p0`) WHERE {bound}) AND all(x IN relationships(`_p0`) WHERE {bound}) AND ((");
    assert!(text.contains(&guards), "{text}");
}

#[test]
fn no_value_is_in_the_text() {
    let query = r#"MATCH (a {name: "m'ark"}) WHERE a.x IN ['mark', -1] OR NOT a.y STARTS WITH 'mark\u0027' RETURN a LIMIT 3"#;
    let (text, parameters) = cypher(query);
    assert!(!text.contains("ark"), "{text}");
    assert_eq!(parameters, ["m'ark".into(), "mark".into(), (-1).into(), "mark'".into(), 0.into(), Value::from(3)]);
}

#[test]
fn what_writes_is_told_that_the_graph_can_only_be_read() {
    for query in [
        "CREATE (a)",
        "MATCH (a) DELETE a",
        "MATCH (a) DETACH DELETE a",
        "match (a) set a.x = 1",
        "MERGE (a:Person) RETURN a",
        "MATCH (a) REMOVE a.x",
        "MATCH (a) WHERE a.x = 1 DELETE a",
        "MATCH (a) RETURN a DELETE a",
        "DROP CONSTRAINT x",
        "LOAD CSV FROM 'file:///etc/passwd' AS l RETURN l",
        "FOREACH (x IN [1] | CREATE (a))",
    ] {
        assert!(refusal(query).0.contains("the graph can only be read"), "{query}: {}", refusal(query).0);
    }
}

#[test]
fn whatever_is_not_understood_is_refused_at_its_place() {
    for (query, place) in [
        ("", "line 1, column 1: expected `MATCH`, found the end"),
        ("MATCH (a)\nRETURN b", "line 2, column 8: `b` is not in any `MATCH` before"),
        ("MATCH (a) RETURN a UNION MATCH (b) RETURN b", "line 1, column 20: expected the end, found `UNION`"),
        ("MATCH (a) CALL db.labels()", "line 1, column 11: expected `MATCH`, `WHERE` or `RETURN`, found `CALL`"),
        ("MATCH (a) CALL { MATCH (b) RETURN b } RETURN b", "line 1, column 11"),
        ("USE other MATCH (a) RETURN a", "line 1, column 1"),
        ("CYPHER 5 MATCH (a) RETURN a", "line 1, column 1"),
        ("EXPLAIN MATCH (a) RETURN a", "line 1, column 1"),
        ("OPTIONAL MATCH (a) RETURN a", "line 1, column 1"),
        ("MATCH (a) WITH a RETURN a", "line 1, column 11"),
        ("UNWIND [1] AS x RETURN x", "line 1, column 1"),
        ("MATCH p = (a)--(b) RETURN p", "line 1, column 7"),
        ("MATCH (a {x: $x}) RETURN a", "line 1, column 14: there are no parameters"),
        ("MATCH (a {`x`: 1}) RETURN a", "line 1, column 11: names are not quoted"),
        ("MATCH (`a` ) RETURN a", "line 1, column 8"),
        ("MATCH (a) // all\nRETURN a", "line 1, column 11: there are no comments"),
        ("MATCH (a /* x */) RETURN a", "line 1, column 10: there are no comments"),
        ("MATCH (a {workspace_id: 'x'}) RETURN a", "line 1, column 11: `workspace_id` is kept"),
        ("MATCH (a) RETURN a._graph", "line 1, column 20: `_graph` is kept"),
        ("MATCH (a) WHERE a._hash = '' RETURN a", "line 1, column 19: `_hash` is kept"),
        ("MATCH (a) RETURN a.x AS _p0", "line 1, column 25: names do not start with `_`"),
        ("MATCH (_p0) RETURN _p0", "line 1, column 8: names do not start with `_`"),
        ("MATCH (a)-[*]->(b) RETURN a", "line 1, column 13: a path needs an end"),
        ("MATCH (a)-[*1..99]->(b) RETURN a", "line 1, column 13: a path needs an end"),
        ("MATCH (a)-[*3..1]->(b) RETURN a", "line 1, column 13: the most is less"),
        ("MATCH (a)-[r*1..2]->(b) RETURN a", "line 1, column 12: edges of `*` cannot have a name"),
        ("MATCH (a)-[a]->(b) RETURN a", "line 1, column 12: `a` is something else already"),
        ("MATCH (a)-[r]->(r) RETURN a", "line 1, column 17: `r` is an edge already"),
        ("MATCH (a:A:B) RETURN a", "line 1, column 11: a node has one label"),
        ("MATCH (a) WHERE a.x = null RETURN a", "line 1, column 23: nothing is equal to a null"),
        ("MATCH (a) WHERE a RETURN a", "line 1, column 17: this cannot be compared"),
        ("MATCH (a) WHERE EXISTS { MATCH (b) } RETURN a", "line 1, column 17"),
        ("MATCH (a) WHERE (a)--() RETURN a", "line 1, column 18"),
        ("MATCH (a) WHERE a.x =~ '.*' RETURN a", "line 1, column 22"),
        ("MATCH (a) WHERE a['workspace_id'] = 'x' RETURN a", "line 1, column 17"),
        ("MATCH (a) RETURN properties(a)", "line 1, column 18: there is no function `properties`"),
        ("MATCH (a) RETURN a {.*}", "line 1, column 20"),
        ("MATCH (a) RETURN *", "line 1, column 18"),
        ("MATCH (a) RETURN a.x + 1", "line 1, column 22"),
        ("MATCH (a) RETURN sum(a)", "line 1, column 22: `sum` is of values"),
        ("MATCH (a) RETURN type(a)", "line 1, column 23: `type` is of an edge"),
        ("MATCH (a) RETURN a, a", "line 1, column 21: two columns are called `a`"),
        ("MATCH (a) RETURN a ORDER BY a", "line 1, column 29: nodes, edges and lists have no order"),
        ("MATCH (a) RETURN count(*) AS n ORDER BY a.x", "line 1, column 41: the order can only be by what is returned"),
        ("MATCH (a) RETURN a LIMIT -1", "line 1, column 26"),
        ("MATCH (a) RETURN a; MATCH (b) RETURN b", "line 1, column 21"),
        ("MATCH (a)-[r]-(b) WHERE a = r RETURN a", "line 1, column 25: a node is never an edge"),
    ] {
        let (said, _) = refusal(query);
        assert!(said.starts_with(place), "{query}: {said}");
    }
    refusal(&format!("MATCH (a) WHERE {} a.x = 1 RETURN a", "NOT ".repeat(10_000)));
    refusal(&format!("MATCH (a) WHERE {}a.x = 1 RETURN a", "(".repeat(10_000)));
    assert!(!refusal("MATCH (a) 'secret' RETURN a").0.contains("secret"));
}

#[test]
fn any_text_is_either_a_query_or_an_error() {
    use proptest::prelude::*;
    let words = "MATCH|(a)|(a:Person|{x: 1}|)-[r]->(|--|<|-|[|*1..2|WHERE|a.x|=|'|\\u0027|\"|`|NOT|AND|RETURN|a|count(*)|ORDER BY|;|//|1.5e3|..|😀|\0|IN";
    let words: Vec<String> = words.split('|').map(str::to_owned).collect();
    let text = prop::collection::vec(prop::sample::select(words), 0..25).prop_map(|words| words.join(" "));
    proptest!(|(text in prop_oneof![text, any::<String>()])| {
        if let Ok(query) = GraphQuery::parse(&text) {
            query.to_cypher(&graph(), 1).ok();
        }
    });
}

#[test]
fn a_label_that_the_graph_does_not_have_comes_with_those_it_has() {
    let error = GraphQuery::parse("MATCH (a:Persn) RETURN a").unwrap().to_cypher(&graph(), 1).unwrap_err();
    assert_eq!(error.to_string(), "the graph has no label `Persn`");
    assert_eq!(error.hint(), Some("it has `Person`, `Post`"));
}
