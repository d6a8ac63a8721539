//! Wrong definitions: each test says what stands wrong where.

use serde_json::{Value, json};

use super::*;
use crate::error::DefinitionFinding;

/// The findings of `text`: what each points at, its line and column, and its message.
fn findings(text: &str) -> Vec<(String, (usize, usize), DefinitionFinding)> {
    let error = Definitions::from_text("catalog.json", text).expect_err("the definitions are wrong");
    let invalid = error.definitions().expect("findings").clone();
    let place = |finding: &DefinitionFinding| (text[finding.span.clone()].to_owned(), invalid.position(finding));
    invalid.findings.iter().map(|finding| (place(finding).0, place(finding).1, finding.clone())).collect()
}

#[track_caller]
fn one(text: &str, at: &str, message: &str, help: Option<&str>) {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{found:?}");
    let (pointed_at, _, finding) = &found[0];
    assert_eq!((pointed_at.as_str(), finding.message.as_str(), finding.help.as_deref()), (at, message, help));
}

fn with_method(method: &str) -> String {
    format!(r#"{{"methods": [{{"method_id": "crawl", {method}}}]}}"#)
}

fn with_entity(entity: &str) -> String {
    format!(r#"{{"ontologies": {{"1.0": {{"entities": {{"Post": {{{entity}}}}}}}}}}}"#)
}

fn with_relations(relations: &str) -> String {
    let entities = r#""entities": {"Post": {"attributes": {"id": "string"}}, "Brand": {"attributes": {"id": "string"}}}"#;
    format!(r#"{{"ontologies": {{"1.0": {{{entities}, "relations": [{relations}]}}}}}}"#)
}

#[test]
fn an_empty_catalog_has_the_built_in_methods() {
    let definitions = Definitions::from_text("catalog.json", "{}").unwrap();
    assert_eq!(definitions, Definitions::builtin_only());
    assert!(definitions.methods().iter().any(|method| method.method_id == "file_ingest"));
}

#[test]
fn unknown_fields_name_the_nearest() {
    one(r#"{"method": []}"#, "\"method\"", "unknown field `method` in the catalog", Some("did you mean `methods`?"));
    one(&with_method(r#""input": {}"#), "\"input\"", "unknown field `input` in method `crawl`", Some("did you mean `inputs`?"));
    one(
        &with_method(r#""inputs": {"a": {"type": "string", "requierd": true}}"#),
        "\"requierd\"",
        "unknown field `requierd` in input `a`",
        Some("did you mean `required`?"),
    );
    one(
        &with_entity(r#""attributes": {"id": "string"}, "keys": ["id"]"#),
        "\"keys\"",
        "unknown field `keys` in entity `Post`",
        Some("did you mean `key`?"),
    );
    one(
        &with_method(r#""program": {"command": ["sh"], "timeout": 3}"#),
        "\"timeout\"",
        "unknown field `timeout` in `program` of method `crawl`",
        Some("known: `command`, `timeout_seconds`"),
    );
}

#[test]
fn unknown_types_name_the_nearest() {
    one(
        &with_method(r#""inputs": {"a": "strnig"}"#),
        "\"strnig\"",
        "unknown input type `strnig`",
        Some("did you mean `string`?"),
    );
    one(&with_method(r#""outputs": {"a": "bool"}"#), "\"bool\"", "unknown type `bool`", Some("did you mean `boolean`?"));
    one(
        &with_entity(r#""attributes": {"id": {"type": "varchar"}}"#),
        "\"varchar\"",
        "unknown type `varchar`",
        Some("did you mean `string`?"),
    );
}

#[test]
fn what_must_be_there_is_missed() {
    one(r#"{"methods": [{"inputs": {}}]}"#, "{", "the method has no `method_id`", None);
    one(&with_method(r#""inputs": {"a": {}}"#), "\"a\"", "input `a` has no `type`", None);
    one(&with_method(r#""program": {}"#), "{", "`program` of method `crawl` has no `command`", None);
    one(&with_entity(r#""key": []"#), "\"Post\"", "entity `Post` has no `attributes`", None);
    one(&with_entity(r#""attributes": {}"#), "{}", "entity `Post` has no attributes", None);
    one(r#"{"ontologies": {"1.0": {}}}"#, "\"1.0\"", "ontology `1.0` has no `entities`", None);
}

#[test]
fn a_key_must_be_an_attribute() {
    one(
        &with_entity(r#""attributes": {"post_id": "string"}, "key": ["postid"]"#),
        "\"postid\"",
        "key `postid` is not an attribute of entity `Post`",
        Some("did you mean `post_id`?"),
    );
    one(
        &with_entity(r#""attributes": {"id": "string"}, "key": ["id", "id"]"#),
        "\"id\"",
        "`id` is twice in `key` of entity `Post`",
        None,
    );
}

#[test]
fn the_ends_of_a_relation_must_be_entities() {
    one(
        &with_relations(r#"{"type": "MENTIONS", "from": "Post", "to": "Brnad"}"#),
        "\"Brnad\"",
        "`to` names the unknown entity `Brnad`",
        Some("did you mean `Brand`?"),
    );
    one(&with_relations(r#"{"type": "MENTIONS", "from": "Post"}"#), "{", "the relation has no `to`", None);
}

#[test]
fn nothing_is_defined_twice() {
    one(r#"{"methods": [{"method_id": "a"}, {"method_id": "a"}]}"#, "\"a\"", "method `a` is defined twice", None);
    let relation = r#"{"type": "MENTIONS", "from": "Post", "to": "Brand"}"#;
    one(
        &with_relations(&format!("{relation}, {relation}")),
        "\"MENTIONS\"",
        "relation `MENTIONS` from `Post` to `Brand` is defined twice",
        None,
    );
    one(
        &with_entity(r#""attributes": {"id": "string", "id": "long"}"#),
        "\"id\"",
        "`id` is given twice",
        Some("it is first given at line 1"),
    );
    let entities = r#"{"entities": {}}"#;
    one(
        &format!(r#"{{"ontologies": {{"1.0": {entities}, "1": {entities}}}}}"#),
        "\"1\"",
        "version `1` is the same as `1.0`",
        None,
    );
    one(
        &with_method(r#""entity_types": ["Post", "Post"]"#),
        "\"Post\"",
        "`Post` is twice in `entity_types` of method `crawl`",
        None,
    );
}

#[test]
fn one_relation_type_may_join_several_entities() {
    let text =
        with_relations(r#"{"type": "LIKE", "from": "Post", "to": "Brand"}, {"type": "LIKE", "from": "Post", "to": "Post"}"#);
    assert_eq!(Definitions::from_text("c", &text).unwrap().ontologies()[0].relations.len(), 2);
}

#[test]
fn names_follow_their_rules() {
    one(
        &with_entity(r#""attributes": {"postId": "string"}"#),
        "\"postId\"",
        "`postId` is not a name for an attribute",
        Some("use lower-case letters, digits and `_`, a letter first, such as `post_id`"),
    );
    one(
        r#"{"methods": [{"method_id": "Crawl It"}]}"#,
        "\"Crawl It\"",
        "`Crawl It` is not a name for a method",
        Some("use lower-case letters, digits and `_`, a letter first, such as `crawl_it`"),
    );
    one(
        r#"{"ontologies": {"v1": {"entities": {}}}}"#,
        "\"v1\"",
        "`v1` is not a version",
        Some("write numbers joined by dots, such as `1.0`"),
    );
}

#[test]
fn a_built_in_method_cannot_be_redefined() {
    for id in ["file_ingest", "refine", "aggregate"] {
        one(
            &format!(r#"{{"methods": [{{"method_id": "{id}"}}]}}"#),
            &format!("\"{id}\""),
            &format!("`{id}` is a built-in method and cannot be redefined"),
            Some("give it another `method_id`"),
        );
    }
}

#[test]
fn defaults_and_enums_are_of_the_type() {
    let input = |rest: &str| with_method(&format!(r#""inputs": {{"a": {{"type": "integer", {rest}}}}}"#));
    one(&input(r#""default": "5""#), "\"5\"", "the default of input `a` must be a whole number", None);
    one(&input(r#""enum": [1, "2"]"#), "\"2\"", "a value in `enum` of input `a` must be a whole number", None);
    one(&input(r#""enum": [1, 1]"#), "1", "a value is twice in `enum` of input `a`", None);
    one(&input(r#""enum": []"#), "[]", "`enum` of input `a` is empty, so it could have no value", None);
    one(&input(r#""enum": [1, 2], "default": 3"#), "3", "the default of input `a` is not in its `enum`", None);
    one(&input(r#""default": null"#), "null", "the default of input `a` must be a whole number", None);
    one(
        &input(r#""default": 5, "required": true"#),
        "5",
        "input `a` is required, so its default would never be used",
        Some("remove `default`, or write `\"required\": false`"),
    );
}

#[test]
fn an_input_is_required_unless_it_has_a_default_or_says_otherwise() {
    let text = with_method(
        r#""inputs": {"a": "string", "b": {"type": "string"}, "c": {"type": "string", "default": "x"},
           "d": {"type": "string", "required": false}, "e": {"type": "string", "required": true}}"#,
    );
    let definitions = Definitions::from_text("c", &text).unwrap();
    let method = definitions.methods().iter().find(|method| method.method_id == "crawl").unwrap();
    let required: Vec<bool> = method.inputs.iter().map(|(_, spec)| spec.required).collect();
    assert_eq!(required, [true, true, false, false, true]);
}

#[test]
fn a_program_is_a_list_of_texts_and_a_time() {
    let program = |program: &str| with_method(&format!(r#""program": {program}"#));
    assert!(findings(&program(r#"{"command": "sh fetch.sh"}"#))[0].2.help.as_ref().unwrap().contains("no shell is used"));
    one(&program(r#"{"command": []}"#), "[]", "`command` is empty", None);
    one(&program(r#"{"command": [" "]}"#), "\" \"", "the executable in `command` is empty", None);
    one(&program(r#"{"command": ["sh", 1]}"#), "1", "an item of `command` must be text", None);
    let message = "`timeout_seconds` must be a whole number of at least 1";
    one(&program(r#"{"command": ["sh"], "timeout_seconds": 0}"#), "0", message, None);
    one(&program(r#"{"command": ["sh"], "timeout_seconds": 1.5}"#), "1.5", message, None);
}

#[test]
fn shapes_are_checked() {
    one("[]", "[]", "the catalog must be an object", None);
    one(r#"{"methods": {}}"#, "{}", "`methods` must be a list", None);
    one(r#"{"methods": [1]}"#, "1", "the method must be an object", None);
    one(r#"{"ontologies": []}"#, "[]", "`ontologies` must be an object", None);
    one(r#"{"methods": [{"method_id": 1}]}"#, "1", "`method_id` must be text", None);
    one(&with_method(r#""name": """#), "\"\"", "`name` of method `crawl` is empty", None);
    one(&with_method(r#""inputs": {"a": 1}"#), "1", "input `a` must be an object", None);
}

#[test]
fn entity_types_must_be_in_an_ontology_when_there_is_one() {
    let methods = r#""methods": [{"method_id": "a", "entity_types": ["Pots"]}]"#;
    let text = format!(r#"{{{methods}, "ontologies": {{"1": {{"entities": {{"Post": {{"attributes": {{"id": "long"}}}}}}}}}}}}"#);
    one(&text, "\"Pots\"", "no ontology has an entity `Pots`", Some("did you mean `Post`?"));
    assert!(Definitions::from_text("c", &format!("{{{methods}}}")).is_ok());
}

#[test]
fn all_mistakes_are_found_in_one_go_in_the_order_of_the_text() {
    let text = r#"{
  "methods": [
    {"method_id": "a", "inputs": {"x": "int"}, "colour": 1,},
    {"method_id": "file_ingest"}
  ],
  "ontologies": {
    "1.0": {
      "entities": {"Post": {"attributes": {"id": "strng"}, "key": ["di"]}},
      "relations": [{"type": "WROTE", "from": "Post", "to": "Profile"}]
    }
  }
}"#;
    let found = findings(text);
    let places: Vec<(usize, usize)> = found.iter().map(|(_, place, _)| *place).collect();
    assert_eq!(places, [(3, 40), (3, 48), (3, 59), (4, 19), (8, 50), (8, 68), (9, 61)]);
    let error = Definitions::from_text("catalog.json", text).unwrap_err();
    assert_eq!(error.to_string(), "catalog.json:3:40: unknown input type `int` (and 6 more)");
}

#[test]
fn the_greatest_version_is_the_default() {
    let text = r#"{"ontologies": {"1.10": {"entities": {}}, "1.9": {"entities": {}}, "1.0": {"entities": {}}}}"#;
    let definitions = Definitions::from_text("c", text).unwrap();
    let version = |wanted: Option<&str>| definitions.ontology(wanted).map(|ontology| ontology.version.as_str());
    assert_eq!(version(None), Some("1.10"));
    assert_eq!(
        (version(Some("1")), version(Some("1.0")), version(Some("2.0")), version(Some("x"))),
        (Some("1.0"), Some("1.0"), None, None)
    );
}

#[test]
fn an_ontology_serialises_to_the_form_it_was_read_from() {
    let full = json!({
        "description": "Posts.",
        "entities": {"Post": {
            "attributes": {"post_id": {"type": "string", "required": true, "description": "Its id."},
                           "likes": {"type": "long", "required": false}},
            "key": ["post_id"]}},
        "relations": [{"type": "REPLY_TO", "from": "Post", "to": "Post"}]
    });
    let definitions = Definitions::from_text("c", &json!({"ontologies": {"1.0": full}}).to_string()).unwrap();
    let mut value = serde_json::to_value(&definitions.ontologies()[0]).unwrap();
    assert_eq!(value.as_object_mut().unwrap().shift_remove("version"), Some(Value::from("1.0")));
    assert_eq!(value, full);
}
