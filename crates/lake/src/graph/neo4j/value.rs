//! Values on their way to Neo4j and back.

use neo4rs::{BoltFloat, BoltInteger, BoltList, BoltMap, BoltNode, BoltType};
use serde_json::{Map, Value, json};

use crate::graph::is_reserved;

/// The properties that Neo4j is given, without those that it keeps for the node or edge itself.
pub(super) fn to_properties(own: &Map<String, Value>, is_kept: impl Fn(&str) -> bool) -> BoltMap {
    let kept = own.iter().filter(|(name, _)| !is_reserved(name) && !is_kept(name));
    kept.filter_map(|(name, value)| Some((name.as_str().into(), to_bolt(value)?))).collect()
}

/// What Neo4j can hold of a value; none for a null. What it has no type for is its JSON text.
pub(super) fn to_bolt(value: &Value) -> Option<BoltType> {
    match value {
        Value::Null => None,
        Value::Bool(truth) => Some((*truth).into()),
        Value::Number(number) => Some(match number.as_i64() {
            Some(integer) => BoltType::Integer(BoltInteger::new(integer)),
            None => float(number.as_f64().unwrap_or_default()),
        }),
        Value::String(text) => Some(text.as_str().into()),
        Value::Array(items) => Some(list(items).unwrap_or_else(|| value.to_string().into())),
        Value::Object(_) => Some(value.to_string().into()),
    }
}

/// A list of one type, which is all that Neo4j can hold.
fn list(items: &[Value]) -> Option<BoltType> {
    let is_integer = |v: &Value| v.as_i64().is_some();
    if items.iter().all(Value::is_number) && !items.iter().all(is_integer) {
        let floats = items.iter().map(|v| v.as_f64().map(float)).collect::<Option<Vec<_>>>()?;
        return Some(BoltType::List(BoltList { value: floats }));
    }
    let alike = [Value::is_string, Value::is_boolean, is_integer].iter().any(|is| items.iter().all(is));
    let value = alike.then(|| items.iter().filter_map(to_bolt).collect())?;
    Some(BoltType::List(BoltList { value }))
}

fn float(value: f64) -> BoltType {
    BoltType::Float(BoltFloat::new(value))
}

/// A value of an answer; `labels` are those of the graph.
pub(super) fn to_json(value: &BoltType, labels: &[String]) -> Value {
    match value {
        BoltType::String(text) => Value::String(text.value.clone()),
        BoltType::Boolean(truth) => Value::Bool(truth.value),
        BoltType::Integer(integer) => json!(integer.value),
        BoltType::Float(float) => json!(float.value),
        BoltType::List(list) => list.iter().map(|v| to_json(v, labels)).collect(),
        BoltType::Map(map) => map_to_json(map, labels),
        _ => Value::Null,
    }
}

/// A node, an edge, or an integer that would be misread, as [`crate::graph::GraphQuery::to_cypher`] asks for them.
fn map_to_json(map: &BoltMap, labels: &[String]) -> Value {
    match (map.value.get("negative"), map.value.get("node")) {
        (Some(BoltType::Integer(integer)), _) => json!(-integer.value),
        (_, Some(BoltType::Node(node))) => {
            let mut found = key_to_json(node, labels);
            let own = pairs(map.value.get("properties")).into_iter().filter(|(name, _)| name != "id").collect();
            found.insert("properties".into(), Value::Object(own));
            Value::Object(found)
        }
        _ => {
            let part = |name: &str| match map.value.get(name) {
                Some(BoltType::Node(end)) => Value::Object(key_to_json(end, labels)),
                other => other.map_or(Value::Null, |value| to_json(value, labels)),
            };
            json!({"type": part("type"), "from": part("from"), "to": part("to"), "properties": pairs(map.value.get("properties"))})
        }
    }
}

fn key_to_json(node: &BoltNode, labels: &[String]) -> Map<String, Value> {
    let names = || node.labels.iter().filter_map(|l| if let BoltType::String(l) = l { Some(l.value.as_str()) } else { None });
    let label = names().find(|name| labels.iter().any(|l| l == name)).or_else(|| names().next());
    let id = node.properties.value.get("id").map_or(Value::Null, |id| to_json(id, &[]));
    Map::from_iter([("label".to_owned(), json!(label)), ("id".to_owned(), id)])
}

/// Properties from pairs of name and value: those that are not reserved, by name.
pub(super) fn pairs(list: Option<&BoltType>) -> Map<String, Value> {
    let Some(BoltType::List(list)) = list else { return Map::new() };
    let pair = |pair: &BoltType| match pair {
        BoltType::List(pair) => Some((to_json(pair.get(0)?, &[]).as_str()?.to_owned(), to_json(pair.get(1)?, &[]))),
        _ => None,
    };
    let mut found: Vec<(String, Value)> = list.iter().filter_map(pair).collect();
    found.retain(|(name, value)| !is_reserved(name) && !value.is_null());
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(value: Value) -> Value {
        to_bolt(&value).map_or(Value::Null, |v| to_json(&v, &[]))
    }

    #[test]
    fn what_neo4j_can_hold_comes_back_as_it_was() {
        for value in
            [json!("ä'`\\"), json!(1), json!(-1.5), json!(1.0), json!(true), json!(i64::MIN), json!([]), json!(["a", ""])]
        {
            assert_eq!(there_and_back(value.clone()), value);
        }
        assert_eq!(there_and_back(json!([1, 2.5])), json!([1.0, 2.5]));
    }

    #[test]
    fn what_neo4j_cannot_hold_is_its_json_text() {
        assert_eq!(there_and_back(json!({"a": [1]})), json!(r#"{"a":[1]}"#));
        assert_eq!(there_and_back(json!([1, "a"])), json!(r#"[1,"a"]"#));
        assert_eq!(there_and_back(json!(["a", null])), json!(r#"["a",null]"#));
        assert_eq!(there_and_back(json!(u64::MAX)), json!(u64::MAX as f64));
        assert_eq!(there_and_back(Value::Null), Value::Null);
    }

    #[test]
    fn a_reserved_name_is_passed_over() {
        let own = json!({"id": "x", "workspace_id": "other", "_graph": "other", "name": "a", "": 1, "nothing": null});
        let properties = to_properties(own.as_object().unwrap(), |name| name == "id");
        let names: Vec<&str> = properties.value.keys().map(|name| name.value.as_str()).collect();
        assert_eq!(names, ["name"]);
    }
}
