//! Pipelines that fit, and what they are compiled to.

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, StructArray, new_null_array};
use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::DFSchema;
use lake::diagnostic::Severity;
use lake::pipeline::{CompiledPipeline, CompiledSilver, Layer, Otherwise, Pipeline, TableName, planning_context};
use std::sync::Arc;

use crate::support::check;

const WHOLE: &str = include_str!("right.yaml");

fn compiled(text: &str) -> CompiledPipeline {
    match check("right.yaml", text) {
        Ok(compiled) => compiled,
        Err(found) => panic!("{found:#?}"),
    }
}

fn table(layer: Layer, name: &str) -> TableName {
    TableName::new(layer, name)
}

fn silver<'a>(pipeline: &'a CompiledPipeline, name: &str) -> &'a CompiledSilver {
    &pipeline.silver[&table(Layer::Silver, name)]
}

#[test]
fn the_order_of_work_follows_from_what_is_read() {
    let pipeline = compiled(WHOLE);
    let order: Vec<String> = pipeline.order.iter().map(ToString::to_string).collect();
    assert_eq!(
        order,
        ["bronze.posts", "bronze.sampled", "silver.posts", "silver.plain", "silver.all", "gold.daily", "gold.busiest"]
    );
    assert_eq!(pipeline.inputs(&table(Layer::Gold, "busiest")), [table(Layer::Gold, "daily"), table(Layer::Silver, "others")]);
    assert_eq!(pipeline.select(&["+gold.daily".to_owned()]).unwrap().len(), 3);
    assert!(pipeline.warnings.is_empty());
}

#[test]
fn an_entity_gives_columns_types_and_key() {
    let pipeline = compiled(WHOLE);
    let posts = silver(&pipeline, "posts");
    let columns: Vec<(&str, String, bool)> =
        posts.columns.iter().map(|c| (c.name.as_str(), c.expr.to_string(), c.required)).collect();
    assert_eq!(
        columns,
        [
            ("post_id", "id".to_owned(), true),
            ("author", "get_field(user, Utf8(\"name\"))".to_owned(), false),
            ("body", "body".to_owned(), false),
            ("posted_at", "to_timestamp(created)".to_owned(), false),
        ]
    );
    assert_eq!(posts.columns[3].data_type, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    assert_eq!(posts.key, [0]);
    assert_eq!(posts.expectations[0].otherwise, Otherwise::Quarantine);
    assert!(posts.delete_when.is_some() && posts.filter.is_some() && posts.sequence_by.is_some());
}

#[test]
fn conditions_see_output_columns_before_source_columns() {
    let pipeline = compiled(WHOLE);
    let names: Vec<String> = silver(&pipeline, "posts").check_schema.fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names[..4], ["post_id", "author", "body", "posted_at"]);
    assert_eq!(names[4..].iter().filter(|n| *n == "body").count(), 0);
    assert!(names.contains(&"_ingested_at".to_owned()) && names.contains(&"created".to_owned()));
}

#[test]
fn without_select_all_delivered_columns_are_kept() {
    let pipeline = compiled(WHOLE);
    let names: Vec<&str> = silver(&pipeline, "all").columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["id", "body"]);
}

#[test]
fn select_gives_the_types_that_delta_stores() {
    let pipeline = compiled(WHOLE);
    let types: Vec<(&str, &DataType)> =
        silver(&pipeline, "plain").columns.iter().map(|c| (c.name.as_str(), &c.data_type)).collect();
    assert_eq!(types[0], ("post_id", &DataType::Utf8));
    assert_eq!(types[1], ("camelCase", &DataType::Utf8));
    assert_eq!(types[2].1, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    assert!(matches!(types[3].1, DataType::Struct(_)));
}

#[test]
fn gold_has_the_querys_columns_without_the_workspace() {
    let pipeline = compiled(WHOLE);
    let daily = &pipeline.gold[&table(Layer::Gold, "daily")];
    let names: Vec<&str> = daily.schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["author", "day", "n"]);
    assert_eq!(daily.schema.field(1).data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    assert!(daily.plan.display_indent().to_string().contains("TableScan: silver.posts"));
}

#[test]
fn compiled_expressions_run_on_rows_of_the_source() {
    let pipeline = compiled(WHOLE);
    let posts = silver(&pipeline, "posts");
    let state = planning_context().state();
    let schema = DFSchema::try_from(posts.source_schema.as_ref().clone()).unwrap();
    let batch = one_row(&posts.source_schema);
    let author = state.create_physical_expr(posts.columns[1].expr.clone(), &schema).unwrap();
    let value = author.evaluate(&batch).unwrap().into_array(1).unwrap();
    assert_eq!(value.as_string::<i32>().value(0), "ada");
    for expr in posts.columns.iter().map(|c| &c.expr).chain(&posts.filter).chain(&posts.delete_when) {
        state.create_physical_expr(expr.clone(), &schema).unwrap().evaluate(&batch).unwrap();
    }
}

/// A row in which `user.name` is `ada`, and all else is null.
fn one_row(schema: &Arc<Schema>) -> RecordBatch {
    let columns = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Struct(fields) => {
            let text: ArrayRef = Arc::new(StringArray::from(vec!["ada"]));
            Arc::new(StructArray::new(fields.clone(), vec![text.clone(), text], None)) as ArrayRef
        }
        other => new_null_array(other, 1),
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
}

#[test]
fn a_fingerprint_changes_with_the_rows_and_not_with_the_layout() {
    let of = |text: &str| {
        let pipeline = compiled(text);
        let gold = pipeline.gold[&table(Layer::Gold, "daily")].fingerprint;
        (silver(&pipeline, "posts").fingerprint, gold)
    };
    let (silver, gold) = of(WHOLE);
    assert!(silver >= 0 && gold >= 0);
    assert_eq!(of(&WHOLE.replace("# A comment", "# Another\n\n# comment")), (silver, gold));
    assert_eq!(of(&WHOLE.replace("length(body)   >  0", "length(body) > 0")), (silver, gold));
    assert_eq!(of(&WHOLE.replace("GROUP BY author, day", "GROUP   BY author, day -- same")), (silver, gold));
    for (from, to) in [
        ("length(body)   >  0", "length(body) > 1"),
        ("otherwise: quarantine", "otherwise: warn"),
        ("delete_when: op = 'D'", "delete_when: op = 'X'"),
        ("where: body IS NOT NULL", "where: body IS NULL"),
        ("author: user.name", "author: user.id"),
        ("sequence_by: posted_at", "sequence_by: _ingested_at"),
    ] {
        let changed = of(&WHOLE.replace(from, to));
        assert_ne!(changed.0, silver, "{from}");
        assert_eq!(changed.1, gold, "{from}");
    }
    assert_ne!(of(&WHOLE.replace("count(*) AS n", "count(body) AS n")).1, gold);
}

#[test]
fn a_value_that_changes_on_every_run_is_warned_about() {
    let text =
        "name: p\nbronze:\n  posts: { method: m }\nsilver:\n  s: { from: bronze.posts, select: { id: id, r: random() } }\n";
    let warnings = compiled(text).warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].severity, Severity::Warning);
    assert_eq!(&text[warnings[0].span.range()], "random()");
}

#[test]
fn what_a_variable_holds_is_not_in_a_finding() {
    let text = "name: p\nbronze:\n  posts: { method: m }\nsilver:\n  s: { from: bronze.posts, where: \"op = '${TOKEN}' 5 '${TOKEN}'\" }\ngold:\n  g: { sql: \"SELECT ${TOKEN} FROM bronze.posts\" }\n";
    let found = check("p.yaml", text).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|d| !format!("{} {:?}", d.message, d.help).contains("hunter22")), "{found:#?}");
}

#[test]
fn the_sql_of_a_gold_table_can_be_planned_by_any_session() {
    let text = "name: p\nbronze:\n  posts: { method: m }\ngold:\n  g: { sql: 'SELECT user.name AS who, count(*) AS n FROM bronze.posts GROUP BY user.name' }\n";
    let pipeline = compiled(text);
    let gold = &pipeline.gold[&table(Layer::Gold, "g")];
    assert_eq!(gold.sql, "SELECT \"user\".name AS who, count(*) AS n FROM bronze.posts GROUP BY \"user\".name");
    assert_eq!(gold.schema.field(0).data_type(), &DataType::Utf8);
}

#[test]
fn a_pipeline_can_be_read_without_any_schema() {
    let pipeline = Pipeline::parse("right.yaml", WHOLE, &|_| Some("acme".to_owned())).unwrap();
    assert_eq!(pipeline.silver.len(), 3);
}
