//! The catalog that is shipped: it is right, its method runs, and a copy with a wrong key is refused.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lake_catalog::{AttributeType, Definitions, Method};
use serde_json::{Value, json};

const CATALOG: &str = include_str!("../../../../catalog/stub-catalog.json");
const WRONG_KEY: &str = include_str!("wrong-key.json");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn definitions() -> Definitions {
    Definitions::from_text("catalog/stub-catalog.json", CATALOG).unwrap_or_else(|error| panic!("{:#?}", error.definitions()))
}

fn crawler() -> Method {
    let definitions = definitions();
    definitions.methods().iter().find(|method| method.method_id == "crawler_twitter_profile").expect("the crawler").clone()
}

/// Runs the method's program, from the root of the repository, on `inputs`.
fn crawl(inputs: &str) -> Output {
    let program = crawler().program.expect("a program");
    let mut command = Command::new(&program.command[0]);
    command.args(&program.command[1..]).current_dir(repository());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    child.stdin.take().expect("stdin").write_all(inputs.as_bytes()).expect("inputs");
    child.wait_with_output().expect("the program ends")
}

fn rows(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{output:?}");
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a row of JSON")).collect()
}

fn fits(value: &Value, data_type: &AttributeType) -> bool {
    match data_type {
        AttributeType::String => value.is_string(),
        AttributeType::Long | AttributeType::Integer => value.is_i64(),
        AttributeType::Boolean => value.is_boolean(),
        AttributeType::Date => value.as_str().is_some_and(|text| text.parse::<chrono::NaiveDate>().is_ok()),
        AttributeType::Timestamp => value.as_str().is_some_and(|text| text.parse::<chrono::DateTime<chrono::Utc>>().is_ok()),
        _ => false,
    }
}

#[test]
fn the_shipped_catalog_has_no_mistakes() {
    let definitions = definitions();
    let ontology = definitions.ontology(Some("1.0")).expect("version 1.0");
    let names: Vec<&str> = ontology.entities.iter().map(|entity| entity.name.as_str()).collect();
    assert_eq!(names, ["Post", "Brand", "Profile"]);
    let relations: Vec<String> = ontology.relations.iter().map(|r| format!("{} {}->{}", r.relation_type, r.from, r.to)).collect();
    assert_eq!(relations, ["WROTE Profile->Post", "MENTIONS Post->Brand"]);
}

#[test]
fn everything_in_the_shipped_catalog_is_described() {
    let definitions = definitions();
    for method in definitions.methods() {
        assert!(method.description.is_some(), "{}", method.method_id);
        assert!(method.inputs.iter().all(|(_, spec)| spec.description.is_some()), "{}", method.method_id);
    }
    for entity in &definitions.ontology(None).expect("an ontology").entities {
        assert!(entity.description.is_some(), "{}", entity.name);
        assert!(entity.attributes.iter().all(|attribute| attribute.description.is_some()), "{}", entity.name);
        assert!(!entity.key.is_empty() && entity.key.iter().all(|key| entity.attribute(key).is_some_and(|a| a.required)));
    }
}

#[test]
fn the_crawler_brings_the_attributes_of_a_profile() {
    let definitions = definitions();
    let profile = definitions.ontology(None).and_then(|ontology| ontology.entity("Profile").ok()).expect("Profile").clone();
    let outputs = crawler().outputs;
    for attribute in &profile.attributes {
        assert!(outputs.contains(&(attribute.name.clone(), attribute.data_type.clone())), "{}", attribute.name);
    }
}

#[test]
fn a_copy_with_a_wrong_key_names_the_key_and_its_place() {
    let error = Definitions::from_text("wrong-key.json", WRONG_KEY).expect_err("a wrong key");
    assert_eq!(error.to_string(), "wrong-key.json:6:41: unknown field `usrname` in input `username`");
}

#[test]
fn recorded_profiles_are_what_the_method_says_it_brings() {
    let outputs = crawler().outputs;
    let rows = rows(&crawl(r#"{"username": "*"}"#));
    assert!(rows.len() >= 40);
    for row in &rows {
        let row = row.as_object().expect("an object");
        assert_eq!(row.keys().collect::<Vec<_>>(), outputs.iter().map(|(name, _)| name).collect::<Vec<_>>());
        for (name, data_type) in &outputs {
            let may_be_null = ["display_name", "bio"].contains(&name.as_str());
            assert!((may_be_null && row[name].is_null()) || fits(&row[name], data_type), "`{name}` of {}", row["username"]);
        }
    }
    let workspaces: BTreeSet<&str> = rows.iter().filter_map(|row| row["workspace_id"].as_str()).collect();
    assert_eq!(workspaces, BTreeSet::from(["acme", "globex"]));
}

#[test]
fn a_username_selects_its_profiles_however_the_inputs_are_written() {
    for inputs in [
        r#"{"username":"rustlang","limit":100}"#,
        "{\n  \"limit\" : 100,\n  \"username\" :\t\"rustlang\"\n}\n",
        r#"{"username": "rustlang"}"#,
    ] {
        let rows = rows(&crawl(inputs));
        assert!(!rows.is_empty() && rows.iter().all(|row| row["username"] == json!("rustlang")), "{inputs}");
    }
}

#[test]
fn the_limit_is_kept() {
    assert_eq!(rows(&crawl(r#"{"username": "*", "limit": 3}"#)).len(), 3);
    assert_eq!(rows(&crawl(r#"{"username": "*", "limit": 0}"#)).len(), 0);
}

#[test]
fn an_unknown_username_exits_with_3_and_says_so() {
    let output = crawl(r#"{"username": "nobody_here"}"#);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"".as_slice()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no recorded profile has the username"));
}

#[test]
fn inputs_that_cannot_be_understood_exit_with_2() {
    for inputs in [
        "",
        "{}",
        r#"{"username": ""}"#,
        r#"{"username": "a*b"}"#,
        r#"{"username": "a.b"}"#,
        r#"{"username": "*", "limit": -1}"#,
        r#"{"username": "*", "limit": "x"}"#,
        r#"{"username": "a\"b"}"#,
    ] {
        let output = crawl(inputs);
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), b"".as_slice()), "{inputs}");
    }
}

#[test]
fn the_recordings_are_found_from_any_folder() {
    let script = repository().join("catalog/methods/crawler_twitter_profile.sh");
    let directory = tempfile::tempdir().expect("a temporary folder");
    let mut child = Command::new("sh")
        .arg(script)
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("stdin").write_all(br#"{"username": "rustlang"}"#).expect("inputs");
    assert!(!rows(&child.wait_with_output().expect("the program ends")).is_empty());
}
