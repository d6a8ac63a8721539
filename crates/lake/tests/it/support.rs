//! The schemas that the pipelines of these tests are compiled against.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use lake::diagnostic::Diagnostic;
use lake::pipeline::{
    BronzeSchema, CompileInput, CompiledPipeline, EntityType, Layer, ORIGIN_COLUMNS, Pipeline, TableName, compile,
};

/// A bronze schema of these delivered columns.
pub(crate) fn bronze(delivered: Vec<Field>, complete: bool) -> BronzeSchema {
    let platform = ["workspace_id"].into_iter().chain(ORIGIN_COLUMNS).map(|name| match name {
        "_source_row" => Field::new(name, DataType::Int64, true),
        "_ingested_at" => Field::new(name, timestamp(), true),
        _ => Field::new(name, DataType::Utf8, true),
    });
    let fields: Vec<Field> = delivered.into_iter().chain(platform).collect();
    BronzeSchema { schema: Arc::new(Schema::new(fields)), complete }
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

/// The bronze tables that are known: all but `unreadable`.
pub(crate) fn bronze_tables() -> BTreeMap<TableName, BronzeSchema> {
    let user = DataType::Struct(Fields::from(vec![text("name"), text("id")]));
    let tags = DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true)));
    let mut posts: Vec<Field> = ["id", "created", "body", "op", "brand", "score", "camelCase"].map(text).to_vec();
    posts.extend([Field::new("user", user, true), Field::new("tags", tags, true)]);
    let table = |name: &str| TableName::new(Layer::Bronze, name);
    BTreeMap::from([
        (table("posts"), bronze(posts, true)),
        (table("users"), bronze(["id", "name", "posted"].map(text).to_vec(), true)),
        (table("sampled"), bronze(["id", "body"].map(text).to_vec(), false)),
    ])
}

/// The ontology's one entity.
pub(crate) fn entities() -> Vec<EntityType> {
    let columns = vec![
        ("post_id".to_owned(), DataType::Utf8, true),
        ("author".to_owned(), DataType::Utf8, false),
        ("body".to_owned(), DataType::Utf8, false),
        ("likes".to_owned(), DataType::Int64, false),
        ("posted_at".to_owned(), timestamp(), false),
    ];
    vec![EntityType { name: "Post".to_owned(), columns, key: vec!["post_id".to_owned()] }]
}

/// A table that another pipeline made.
pub(crate) fn existing() -> BTreeMap<TableName, SchemaRef> {
    let schema = Schema::new(vec![text("workspace_id"), text("id"), Field::new("seen", DataType::Int64, true)]);
    BTreeMap::from([(TableName::new(Layer::Silver, "others"), Arc::new(schema))])
}

/// Reads and compiles `text`.
pub(crate) fn check(path: &str, text: &str) -> Result<CompiledPipeline, Vec<Diagnostic>> {
    let lookup = |name: &str| match name {
        "WORKSPACE_ID" => Some("acme".to_owned()),
        "TOKEN" => Some("hunter22".to_owned()),
        _ => None,
    };
    let pipeline = Pipeline::parse(path, text, &lookup)?;
    let (bronze, entities, existing) = (bronze_tables(), entities(), existing());
    compile(&CompileInput { pipeline: &pipeline, entities: &entities, bronze: &bronze, existing: &existing })
}
