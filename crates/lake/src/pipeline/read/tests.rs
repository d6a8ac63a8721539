//! What the reader accepts, and that it says everything at once.

use arrow::datatypes::DataType;
use serde_json::json;

use super::*;
use crate::pipeline::Otherwise;

fn parse(text: &str) -> Result<Pipeline, Vec<Diagnostic>> {
    Pipeline::parse("p.yaml", text, &|name| (name == "WORKSPACE_ID").then(|| "acme".to_owned()))
}

fn messages(text: &str) -> Vec<String> {
    parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

const WHOLE: &str = "
name: brand_monitoring
ontology: 1.0
workspace: ${WORKSPACE_ID}
bronze:
  posts:
    description: what people wrote
    method: file_ingest
    inputs: { path: data/*.ndjson, depth: 3, ratio: 0.5, deep: { list: [1, ~, yes, 'no'] }, flag: true, text: '12' }
    columns: { likes: long, user: 'struct<name: string, id: long>', tags: array<string> }
silver:
  posts:
    from: bronze.posts
    entity: Post
    select: { post_id: id, author: user.name }
    where: op <> 'X'
    key: [post_id]
    sequence_by: posted_at
    delete_when: op = 'D'
    expect:
      body_present: { check: length(body) > 0, otherwise: quarantine }
gold:
  daily:
    sql: |
      SELECT brand, count(*) AS n
      FROM silver.posts
      GROUP BY brand
";

#[test]
fn every_key_of_the_language_is_read() {
    let pipeline = parse(WHOLE).unwrap();
    assert_eq!(pipeline.name.value, "brand_monitoring");
    assert_eq!(pipeline.ontology.unwrap().value, "1.0");
    let WorkspaceSpec::Fixed(workspace) = pipeline.workspace else { panic!() };
    assert_eq!(workspace.value.as_str(), "acme");
    assert_eq!(&WHOLE[workspace.span.range()], "${WORKSPACE_ID}");
    let bronze = &pipeline.bronze[0];
    assert_eq!(bronze.name.value.to_string(), "bronze.posts");
    assert_eq!(bronze.description.as_deref(), Some("what people wrote"));
    assert_eq!(&WHOLE[bronze.inputs_span.range()], "inputs");
    let inputs: Vec<_> = bronze.inputs.iter().map(|i| (i.name.value.as_str(), i.value.value.clone())).collect();
    assert_eq!(inputs[0], ("path", json!("data/*.ndjson")));
    assert_eq!(inputs[1..3], [("depth", json!(3)), ("ratio", json!(0.5))]);
    assert_eq!(inputs[3], ("deep", json!({ "list": [1, null, "yes", "no"] })));
    assert_eq!(inputs[4..], [("flag", json!(true)), ("text", json!("12"))]);
    assert_eq!(bronze.columns[0].1.value, DataType::Int64);
    let silver = &pipeline.silver[0];
    assert_eq!(silver.from.value.to_string(), "bronze.posts");
    assert_eq!(silver.select[1].1.value, "user.name");
    assert_eq!(silver.expect[0].otherwise, Otherwise::Quarantine);
    assert_eq!(silver.key[0].value, "post_id");
    assert!(pipeline.gold[0].sql.value.starts_with("SELECT brand"));
}

#[test]
fn a_workspace_may_come_from_a_column_or_from_outside() {
    let table = "bronze: { a: { method: m } }";
    let column = parse(&format!("name: p\nworkspace: {{ column: tenant }}\n{table}\n")).unwrap();
    assert!(matches!(column.workspace, WorkspaceSpec::Column(c) if c.value == "tenant"));
    assert_eq!(parse(&format!("name: p\n{table}\n")).unwrap().workspace, WorkspaceSpec::Inherit);
    let number = parse(&format!("name: p\nworkspace: 12\n{table}\n")).unwrap();
    assert!(matches!(number.workspace, WorkspaceSpec::Fixed(w) if w.value.as_str() == "12"));
}

#[test]
fn findings_come_all_at_once_and_in_the_order_of_the_file() {
    let found = messages(
        "nme: p
bronze:
  Posts: { method: m, input: {} }
  b: { method: m, columns: { x: strng, _source: string } }
silver:
  s: { form: bronze.b, expect: { e: { check: a, otherwise: dorp } } }
  t: { from: silver.s }
gold:
  g: { sql: [] }
vectors:
  v: { from: silver.s }
",
    );
    assert_eq!(
        found,
        [
            "p.yaml:1:1: the pipeline has no `name`",
            "p.yaml:1:1: a pipeline has no key `nme`",
            "p.yaml:3:3: the table's name does not start with a lower case letter",
            "p.yaml:3:23: a bronze table has no key `input`",
            "p.yaml:4:33: `strng` is not a type",
            "p.yaml:4:40: the column `_source` is kept for the platform",
            "p.yaml:6:8: a silver table has no key `form`",
            "p.yaml:6:60: `otherwise` does not say what becomes of the row",
            "p.yaml:7:14: a silver table reads bronze, not silver",
            "p.yaml:9:13: `sql` is a list, not a text",
            "p.yaml:11:3: `vectors.v` has no `embed`",
        ]
    );
}

#[test]
fn an_empty_file_is_told_apart_from_a_wrong_one() {
    for text in ["", "# only a comment\n", "---\n"] {
        assert_eq!(messages(text), ["p.yaml:1:1: the file holds no pipeline"], "{text:?}");
    }
    assert_eq!(messages("just text"), ["p.yaml:1:1: the file is a single value, not a mapping"]);
    assert_eq!(messages("name: p\n"), ["p.yaml:1:1: the pipeline has no tables"]);
    assert_eq!(messages("name: p\nbronze:\n"), ["p.yaml:2:1: `bronze` has no tables"]);
}

#[test]
fn what_a_variable_holds_is_not_repeated() {
    let secret = |_: &str| Some("hunter22".to_owned());
    let text = "name: p\nworkspace: ${A}\nbronze: { a: { method: m, columns: { x: '${B}' } } }\nsilver: { s: { from: '${C}', key: ['${D}', '${E}'] } }\n";
    let found = Pipeline::parse("p.yaml", text, &secret).unwrap_err();
    assert_eq!(found.len(), 3);
    assert!(!format!("{:?}", found.iter().map(|d| (&d.message, &d.help)).collect::<Vec<_>>()).contains("hunter22"));
}
