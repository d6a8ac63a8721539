//! The promises of [`Catalog`], each as a test that every adapter runs against the real thing.
//!
//! An adapter's tests implement [`Subject`] and write `lake_catalog::catalog_contract!(subject)`, where the expression
//! makes a subject with a new catalog.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use futures::future::try_join_all;
use serde_json::json;

use crate::builtin;
use crate::catalog::Catalog;
use crate::catalog_ext::CatalogExt;
use crate::error::{Error, ErrorKind};
use crate::lineage::{ColumnLineage, ColumnRef, DirectSource, IndirectKind, IndirectSource, SourceKind, TableLineage};
use crate::method::Method;
use crate::record::{ColumnRecord, RunRecord, RunStatus, TableRecord};

/// The definitions that a subject's catalog has.
pub const DEFINITIONS: &str = r#"{
  "methods": [
    {"method_id": "webhook", "inputs": {"url": "string"}},
    {"method_id": "crawler", "name": "Crawler", "description": "Fetches \"profiles\" 🦀.", "entity_types": ["Profile"],
     "inputs": {"username": {"type": "string", "required": true, "description": "Whose."},
                "order": {"type": "string", "enum": ["newest", "oldest"], "default": "newest"},
                "tags": {"type": "array<string>", "required": false}},
     "outputs": {"username": "string", "price": "decimal(12,2)"},
     "program": {"command": ["sh", "fetch.sh", ""], "timeout_seconds": 20}}
  ],
  "ontologies": {
    "1.10": {"entities": {"Profile": {"attributes": {"username": {"type": "string", "required": true}, "since": "date"},
                                      "key": ["username"]},
                          "Post": {"attributes": {"id": "long"}}},
             "relations": [{"type": "WROTE", "from": "Profile", "to": "Post", "description": "Is the author of."}]},
    "1.9": {"entities": {"Profile": {"attributes": {"username": "string"}}}}
  }
}"#;

/// A catalog that holds [`DEFINITIONS`] and, at first, no records.
#[async_trait]
pub trait Subject: Send + Sync {
    /// A new handle on the subject's catalog, which is the same one each time.
    async fn open(&self) -> Arc<dyn Catalog>;
}

/// A promise that is not kept.
#[derive(Debug)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self(format!("{error:?}"))
    }
}

/// Whether a promise is kept.
pub type Kept = Result<(), Broken>;

/// Writes one `#[tokio::test]` for each promise of [`contract`](crate::contract); `$subject` makes a new
/// [`Subject`](crate::contract::Subject).
#[macro_export]
macro_rules! catalog_contract {
    ($subject:expr) => {
        $crate::catalog_contract!(@tests $subject;
            methods_are_listed_by_id
            built_in_methods_are_always_listed
            an_entity_type_selects_methods
            a_method_is_listed_as_it_is_defined
            an_unknown_method_is_not_found_and_names_the_nearest
            the_greatest_version_is_the_default
            an_ontology_is_given_as_it_is_defined
            absence_is_no_error
            a_registered_table_is_listed_by_every_handle
            registering_again_replaces_the_table_and_no_other
            any_text_may_name_a_table
            recorded_lineage_is_readable_by_every_handle
            recording_a_run_twice_changes_nothing
            lineage_is_that_of_the_run_that_ended_last
            a_run_changes_no_lineage_but_its_own
            writers_of_different_tables_do_not_disturb_each_other
            runs_recorded_at_the_same_time_are_all_recorded
            lineage_is_followed_both_ways
            an_unknown_column_is_not_found_and_names_the_nearest
        );
    };
    (@tests $subject:expr; $($promise:ident)*) => {
        $(
            #[tokio::test]
            async fn $promise() -> $crate::contract::Kept {
                $crate::contract::$promise(&$subject).await
            }
        )*
    };
}

fn same<T: PartialEq + fmt::Debug>(found: T, expected: T) -> Kept {
    if found == expected { Ok(()) } else { Err(Broken(format!("expected {expected:?}, found {found:?}"))) }
}

fn holds(condition: bool, promise: &str) -> Kept {
    if condition { Ok(()) } else { Err(Broken(promise.to_owned())) }
}

fn ids(methods: &[Method]) -> Vec<&str> {
    methods.iter().map(|method| method.method_id.as_str()).collect()
}

fn table(name: &str) -> TableRecord {
    let column = |name: &str, data_type: &str, nullable: bool, description: Option<&str>| ColumnRecord {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        nullable,
        description: description.map(str::to_owned),
    };
    TableRecord {
        name: name.to_owned(),
        layer: "silver".to_owned(),
        location: format!("s3://bucket/{name}"),
        columns: vec![
            column("id", "string", false, Some("Its id.")),
            column("price", "decimal(12,2)", true, None),
            column("tags", "array<string>", true, None),
        ],
        description: Some("A \"table\" 🦀".to_owned()),
        key: vec!["id".to_owned()],
        partition_columns: vec!["workspace_id".to_owned()],
        version: Some(3),
    }
}

/// `output`.id and `output`.n, made from `input`.id and filtered by `input`.op.
fn lineage(output: &str, input: &str) -> TableLineage {
    let source = |kind, expression: Option<&str>| DirectSource {
        source: ColumnRef::new(input, "id"),
        kind,
        expression: expression.map(str::to_owned),
    };
    let column = |name: &str, source| ColumnLineage { column: name.to_owned(), sources: vec![source] };
    TableLineage {
        output: output.to_owned(),
        inputs: vec![input.to_owned()],
        columns: vec![
            column("id", source(SourceKind::Identity, None)),
            column("n", source(SourceKind::Transformation, Some("length(id) + 1"))),
        ],
        indirect: vec![IndirectSource { source: ColumnRef::new(input, "op"), kind: IndirectKind::Filter }],
        sql: Some(format!("SELECT id, length(id) + 1 AS n FROM \"{input}\" WHERE op <> 'D'")),
        run_id: None,
        version: Some(7),
    }
}

/// A run that ended `second` seconds after the first.
fn run(run_id: &str, second: i64, lineage: Vec<TableLineage>) -> RunRecord {
    let started_at = DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default();
    let finished_at = DateTime::from_timestamp(1_700_000_100 + second, 0).unwrap_or_default();
    let report = json!({"schema": "lake.run.v1", "tables": [{"table": "silver.a", "rows_read": 1}]});
    let (run_id, pipeline) = (run_id.to_owned(), "brand_monitoring".to_owned());
    RunRecord { run_id, pipeline, status: RunStatus::Succeeded, started_at, finished_at, lineage, report }
}

/// The lineage as the catalog gives it once run `run_id` recorded it.
fn recorded(lineage: TableLineage, run_id: &str) -> Option<TableLineage> {
    Some(TableLineage { run_id: Some(run_id.to_owned()), ..lineage })
}

/// [`Catalog::list_methods`] is sorted by id.
pub async fn methods_are_listed_by_id(subject: &dyn Subject) -> Kept {
    let methods = subject.open().await.list_methods(None).await?;
    same(ids(&methods), vec!["aggregate", "crawler", "file_ingest", "refine", "webhook"])
}

/// With or without an entity type.
pub async fn built_in_methods_are_always_listed(subject: &dyn Subject) -> Kept {
    for entity_type in [None, Some("Profile"), Some("NoSuchEntity")] {
        let methods = subject.open().await.list_methods(entity_type).await?;
        holds(builtin::methods().iter().all(|method| methods.contains(method)), "a built-in method is not listed")?;
    }
    Ok(())
}

/// A method that names its entities is listed for those only.
pub async fn an_entity_type_selects_methods(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    let all = vec!["aggregate", "crawler", "file_ingest", "refine", "webhook"];
    let others = vec!["aggregate", "file_ingest", "refine", "webhook"];
    same(ids(&catalog.list_methods(Some("Profile")).await?), all)?;
    same(ids(&catalog.list_methods(Some("Post")).await?), others)
}

/// Nothing of a method's signature is lost on the way.
pub async fn a_method_is_listed_as_it_is_defined(subject: &dyn Subject) -> Kept {
    let definitions = crate::definition::Definitions::from_text("contract", DEFINITIONS)?;
    same(subject.open().await.list_methods(None).await?.as_slice(), definitions.methods())
}

/// [`CatalogExt::method`].
pub async fn an_unknown_method_is_not_found_and_names_the_nearest(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    same(catalog.method("crawler").await?.method_id.as_str(), "crawler")?;
    match catalog.method("crawlr").await {
        Ok(_) => Err(Broken("a method was found that does not exist".to_owned())),
        Err(error) => same((error.kind(), error.hint()), (ErrorKind::NotFound, Some("did you mean `crawler`?"))),
    }
}

/// By number, not by letter.
pub async fn the_greatest_version_is_the_default(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    same(catalog.ontology(None).await?.version.as_str(), "1.10")?;
    same(catalog.ontology(Some("1.9")).await?.version.as_str(), "1.9")
}

/// Nothing of an ontology is lost on the way, and the order of attributes is kept.
pub async fn an_ontology_is_given_as_it_is_defined(subject: &dyn Subject) -> Kept {
    let definitions = crate::definition::Definitions::from_text("contract", DEFINITIONS)?;
    same(subject.open().await.get_ontology(Some("1.10")).await?.as_ref(), definitions.ontology(Some("1.10")))
}

/// What is not there is `None` or an empty list.
pub async fn absence_is_no_error(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    same(catalog.table_lineage("silver.none").await?, None)?;
    same(catalog.tables().await?, vec![])?;
    same(catalog.get_ontology(Some("2.0")).await?, None)?;
    same(catalog.get_ontology(Some("no version")).await?, None)?;
    catalog.register_tables(&[]).await?;
    same(catalog.tables().await?, vec![])
}

/// Sorted by name, with all that is known of them.
pub async fn a_registered_table_is_listed_by_every_handle(subject: &dyn Subject) -> Kept {
    let plain = TableRecord { description: None, key: vec![], partition_columns: vec![], version: None, ..table("gold.b") };
    let (writer, reader) = (subject.open().await, subject.open().await);
    same(reader.tables().await?, vec![])?;
    writer.register_tables(&[table("silver.c"), plain.clone()]).await?;
    same(reader.tables().await?, vec![plain, table("silver.c")])
}

/// [`Catalog::register_tables`] is an upsert, and of two records of one name in one call the last counts.
pub async fn registering_again_replaces_the_table_and_no_other(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    catalog.register_tables(&[table("silver.a"), table("silver.b")]).await?;
    let mut changed = table("silver.a");
    changed.columns.truncate(1);
    changed.version = Some(4);
    catalog.register_tables(&[table("silver.a"), changed.clone()]).await?;
    same(catalog.tables().await?, vec![changed, table("silver.b")])
}

/// No name reaches the record of another, or out of the catalog.
pub async fn any_text_may_name_a_table(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    let mut names = ["../up", ".", "..", "a/b", "a%2Fb", "file:data/*.csv", "silver.größe 🦀", "x\\y", "x?y#z"];
    names.sort_unstable();
    catalog.register_tables(&names.map(table)).await?;
    catalog.record_run(&run("r1", 0, names.map(|name| lineage(name, "bronze.x")).to_vec())).await?;
    let tables = catalog.tables().await?;
    same(tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), names.to_vec())?;
    for name in names {
        same(catalog.table_lineage(name).await?, recorded(lineage(name, "bronze.x"), "r1"))?;
    }
    Ok(())
}

/// As soon as [`Catalog::record_run`] has returned, and unchanged but for the run's id.
pub async fn recorded_lineage_is_readable_by_every_handle(subject: &dyn Subject) -> Kept {
    let (writer, reader) = (subject.open().await, subject.open().await);
    same(reader.table_lineage("silver.a").await?, None)?;
    writer.record_run(&run("r1", 0, vec![lineage("silver.a", "bronze.a"), lineage("gold.b", "silver.a")])).await?;
    same(reader.table_lineage("silver.a").await?, recorded(lineage("silver.a", "bronze.a"), "r1"))?;
    same(reader.table_lineage("gold.b").await?, recorded(lineage("gold.b", "silver.a"), "r1"))
}

/// Even when it says something else the second time.
pub async fn recording_a_run_twice_changes_nothing(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    let first = run("r1", 0, vec![lineage("silver.a", "bronze.a")]);
    catalog.record_run(&first).await?;
    catalog.record_run(&first).await?;
    catalog.record_run(&run("r1", 9, vec![lineage("silver.a", "bronze.other"), lineage("silver.b", "bronze.b")])).await?;
    same(catalog.table_lineage("silver.a").await?, recorded(lineage("silver.a", "bronze.a"), "r1"))?;
    same(catalog.table_lineage("silver.b").await?, None)
}

/// Whatever the order of recording.
pub async fn lineage_is_that_of_the_run_that_ended_last(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    for (run_id, second, input) in
        [("r2", 2, "bronze.two"), ("r1", 1, "bronze.one"), ("r3", 3, "bronze.three"), ("r0", 0, "bronze.x")]
    {
        catalog.record_run(&run(run_id, second, vec![lineage("silver.a", input)])).await?;
    }
    same(catalog.table_lineage("silver.a").await?, recorded(lineage("silver.a", "bronze.three"), "r3"))
}

/// A run that wrote nothing, or other tables, leaves what is known of a table as it was.
pub async fn a_run_changes_no_lineage_but_its_own(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    catalog.record_run(&run("r1", 0, vec![lineage("silver.a", "bronze.a")])).await?;
    catalog.record_run(&run("r2", 1, vec![lineage("silver.b", "bronze.b")])).await?;
    catalog.record_run(&RunRecord { status: RunStatus::Failed, ..run("r3", 2, vec![]) }).await?;
    same(catalog.table_lineage("silver.a").await?, recorded(lineage("silver.a", "bronze.a"), "r1"))
}

/// Twenty writers with a handle each.
pub async fn writers_of_different_tables_do_not_disturb_each_other(subject: &dyn Subject) -> Kept {
    let names: Vec<String> = (10..30).map(|n| format!("silver.t{n}")).collect();
    let write = |name: String| async move {
        let catalog = subject.open().await;
        catalog.register_tables(&[table(&name)]).await?;
        catalog.record_run(&run(&format!("run-{name}"), 0, vec![lineage(&name, "bronze.x")])).await
    };
    try_join_all(names.iter().cloned().map(write)).await?;
    let catalog = subject.open().await;
    same(catalog.tables().await?, names.iter().map(|name| table(name)).collect())?;
    for name in &names {
        same(catalog.table_lineage(name).await?, recorded(lineage(name, "bronze.x"), &format!("run-{name}")))?;
    }
    Ok(())
}

/// The same run from many handles at once is recorded once, and without an error.
pub async fn runs_recorded_at_the_same_time_are_all_recorded(subject: &dyn Subject) -> Kept {
    let record = |n: i64| async move {
        let lineage = vec![lineage(&format!("silver.t{}", n % 3), "bronze.x")];
        subject.open().await.record_run(&run(&format!("r{}", n % 3), n % 3, lineage)).await
    };
    try_join_all((0..12).map(record)).await?;
    let catalog = subject.open().await;
    for n in 0..3 {
        let (name, run_id) = (format!("silver.t{n}"), format!("r{n}"));
        same(catalog.table_lineage(&name).await?, recorded(lineage(&name, "bronze.x"), &run_id))?;
    }
    Ok(())
}

/// [`CatalogExt::upstream`] and [`CatalogExt::downstream`], over tables that different runs recorded.
pub async fn lineage_is_followed_both_ways(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    catalog.register_tables(&[table("bronze.a"), table("silver.a"), table("gold.a")]).await?;
    catalog.record_run(&run("r1", 0, vec![lineage("bronze.a", "file:a.csv"), lineage("silver.a", "bronze.a")])).await?;
    catalog.record_run(&run("r2", 1, vec![lineage("gold.a", "silver.a")])).await?;
    let up = catalog.upstream(ColumnRef::new("gold.a", "n"), usize::MAX).await?;
    let source = up.children.first().and_then(|silver| silver.children.first()).and_then(|bronze| bronze.children.first());
    same(source.map(|source| source.item.to_string()).as_deref(), Some("file:a.csv.id"))?;
    let cut = catalog.upstream("gold.a", 1).await?;
    same(cut.children.iter().map(|child| child.cut_off).collect::<Vec<_>>(), vec![true])?;
    let down = catalog.downstream("file:a.csv", usize::MAX).await?;
    let gold = down.children.first().and_then(|bronze| bronze.children.first()).and_then(|silver| silver.children.first());
    same(gold.map(|gold| gold.item.to_string()).as_deref(), Some("gold.a"))
}

/// And a known column without lineage is a tree without children.
pub async fn an_unknown_column_is_not_found_and_names_the_nearest(subject: &dyn Subject) -> Kept {
    let catalog = subject.open().await;
    catalog.register_tables(&[table("silver.posts")]).await?;
    holds(catalog.upstream("silver.posts.price", 9).await?.children.is_empty(), "a column without lineage has children")?;
    for (item, hint) in [("silver.posts.prize", "did you mean `price`?"), ("silver.post", "did you mean `silver.posts`?")] {
        for found in [catalog.upstream(item, 9).await, catalog.downstream(item, 9).await] {
            match found {
                Ok(_) => return Err(Broken(format!("`{item}` was found and does not exist"))),
                Err(error) => same((error.kind(), error.hint()), (ErrorKind::NotFound, Some(hint)))?,
            }
        }
    }
    Ok(())
}
