//! What is outside of a job's workspaces is refused, and nothing is committed.

use std::collections::HashSet;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use deltalake::kernel::Add;
use object_store::ObjectStoreExt;

use super::*;
use crate::engine::{Engine, EngineOptions};
use crate::lake::Lake;
use crate::report::{LISTED_PARTITIONS, Strategy};
use crate::table::{At, TableWriter, WriterOptions, with_workspace};

const TABLE: &str = "silver.notes";

fn rows(workspaces: &[&str]) -> RecordBatch {
    let schema = with_workspace(&Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let ids = Int64Array::from_iter_values(0..workspaces.len() as i64);
    RecordBatch::try_new(schema, vec![Arc::new(ids), Arc::new(StringArray::from(workspaces.to_vec()))]).unwrap()
}

fn of(workspace: &str) -> Footprint {
    Footprint::of(Scope::Workspace(WorkspaceId::new(workspace).unwrap()))
}

async fn snapshot(lake: &Lake, table: &str) -> Snapshot {
    lake.snapshot(&table.parse().unwrap(), At::Latest).await.unwrap().unwrap()
}

async fn written(table: &Snapshot, workspaces: &[&str]) -> Vec<Add> {
    let rows = rows(workspaces);
    let mut writer = TableWriter::new(table, rows.schema(), WriterOptions::of(&Engine::new(EngineOptions::default()).unwrap()));
    writer.write(&rows).await.unwrap();
    writer.finish().await.unwrap()
}

async fn commit(table: &Snapshot, adds: Vec<Add>, removes: HashSet<Path>) -> Result<()> {
    table.commit(Change { adds, removes, ..Change::default() }, Strategy::Append, "test").await.map(|_| ())
}

/// A lake with a table of two workspaces, each with a file, and one of nobody's rows.
async fn lake() -> (tempfile::TempDir, Lake) {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::builder().uri(folder.path().to_string_lossy()).build().unwrap();
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    for name in [TABLE, "bronze.notes_quarantine"] {
        Snapshot::create(lake.root(), &name.parse().unwrap(), &schema, &[], None).await.unwrap();
    }
    let table = snapshot(&lake, TABLE).await;
    commit(&table, written(&table, &["acme", "globex"]).await, HashSet::new()).await.unwrap();
    (folder, lake)
}

async fn read(table: &Snapshot, workspace: &str) {
    let file = table.files(&Scope::Feed).unwrap().into_iter().find(|f| f.workspace.as_deref() == Some(workspace)).unwrap();
    table.delta().log_store().object_store(None).get(&file.path).await.unwrap();
}

fn refused(done: Result<()>) {
    let error = done.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().ends_with("nothing was committed"), "{error}");
}

fn listed(folders: &[&str]) -> Partitions {
    Partitions::Listed(folders.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn a_job_within_its_workspace_commits_and_leaves_the_proof() {
    let (_folder, lake) = lake().await;
    let footprint = of("acme");
    let table = snapshot(&lake.noted(&footprint), TABLE).await;
    assert_eq!((footprint.read(), footprint.written()), (listed(&[]), listed(&[])));
    read(&table, "acme").await;
    commit(&table, written(&table, &["acme"]).await, HashSet::new()).await.unwrap();
    let own = listed(&["silver/notes/workspace_id=acme"]);
    assert_eq!((footprint.read(), footprint.written()), (own.clone(), own));
}

#[tokio::test]
async fn a_name_that_needs_encoding_is_its_own_partition() {
    let (_folder, lake) = lake().await;
    let name = "Åse & Söner: 50%/år = a+b";
    let footprint = of(name);
    let table = snapshot(&lake.noted(&footprint), TABLE).await;
    commit(&table, written(&table, &[name]).await, HashSet::new()).await.unwrap();
    read(&snapshot(&lake.noted(&footprint), TABLE).await, name).await;
    assert_eq!(footprint.read(), footprint.written());
}

#[tokio::test]
async fn reading_another_workspace_keeps_a_job_from_committing() {
    let (_folder, lake) = lake().await;
    let table = snapshot(&lake.noted(&of("acme")), TABLE).await;
    read(&table, "globex").await;
    refused(commit(&table, written(&table, &["acme"]).await, HashSet::new()).await);
    assert_eq!(snapshot(&lake, TABLE).await.version(), table.version());
}

#[tokio::test]
async fn scans_are_noted_file_by_file() {
    let (_folder, lake) = lake().await;
    let (own, other) = (of("acme"), of("globex"));
    for (footprint, folder) in [(&own, "silver/notes/workspace_id=acme"), (&other, "silver/notes/workspace_id=globex")] {
        let noted = lake.noted(footprint);
        let workspace = if folder.ends_with("acme") { "acme" } else { "globex" };
        noted.workspace(workspace).unwrap().collect("SELECT * FROM silver.notes").await.unwrap();
        assert_eq!(footprint.read(), listed(&[folder]));
    }
    assert_eq!(own.read(), listed(&["silver/notes/workspace_id=acme"]));
}

#[tokio::test]
async fn writing_for_another_workspace_keeps_a_job_from_committing() {
    let (_folder, lake) = lake().await;
    let table = snapshot(&lake.noted(&of("acme")), TABLE).await;
    refused(commit(&table, written(&table, &["acme", "globex"]).await, HashSet::new()).await);
    let table = snapshot(&lake.noted(&of("acme")), TABLE).await;
    let files = table.files(&Scope::Feed).unwrap();
    let others = files.into_iter().filter(|f| f.workspace.as_deref() == Some("globex")).map(|f| f.path).collect();
    refused(commit(&table, vec![], others).await);
    assert_eq!(snapshot(&lake, TABLE).await.version(), table.version());
}

#[tokio::test]
async fn a_file_is_added_only_as_one_of_the_partition_it_was_written_to() {
    let (_folder, lake) = lake().await;
    let table = snapshot(&lake.noted(&Footprint::of(Scope::Feed)), TABLE).await;
    let mut adds = written(&table, &["globex"]).await;
    adds[0].partition_values.insert(WORKSPACE_COLUMN.into(), Some("acme".into()));
    refused(commit(&table, adds, HashSet::new()).await);
    let elsewhere = written(&snapshot(&lake, TABLE).await, &["acme"]).await;
    refused(commit(&table, elsewhere, HashSet::new()).await);
}

#[tokio::test]
async fn a_feed_keeps_to_the_workspaces_of_its_batch() {
    let (_folder, lake) = lake().await;
    let footprint = Footprint::of(Scope::Feed);
    let table = snapshot(&lake.noted(&footprint), TABLE).await;
    footprint.name(Some(["acme".to_string()].into()));
    commit(&table, written(&table, &["acme"]).await, HashSet::new()).await.unwrap();
    let table = snapshot(&lake.noted(&footprint), TABLE).await;
    read(&table, "globex").await;
    refused(commit(&table, written(&table, &["acme"]).await, HashSet::new()).await);
    footprint.name(Some(["globex".to_string()].into()));
    commit(&table, written(&table, &["acme"]).await, HashSet::new()).await.unwrap();
}

#[tokio::test]
async fn rows_of_nobody_go_to_a_bronze_quarantine_of_a_feed_only() {
    let (_folder, lake) = lake().await;
    for (scope, name, fine) in [
        (Scope::Feed, "bronze.notes_quarantine", true),
        (Scope::Feed, TABLE, false),
        (Scope::Workspace(WorkspaceId::new("acme").unwrap()), "bronze.notes_quarantine", false),
    ] {
        let table = snapshot(&lake.noted(&Footprint::of(scope)), name).await;
        let done = commit(&table, written(&table, &[UNASSIGNED]).await, HashSet::new()).await;
        if fine { done.unwrap() } else { refused(done) }
    }
}

#[test]
fn only_files_with_rows_are_noted() {
    let workspace = |path: &str| place(path).map(|(folder, place)| (folder.to_owned(), place.workspace));
    let in_partition = |folder: &str, name: &str| Some((folder.to_owned(), Some(name.to_owned())));
    assert_eq!(
        workspace("silver/p/workspace_id=a%2Fb%20%25/f.parquet"),
        in_partition("silver/p/workspace_id=a%2Fb%20%25", "a/b %")
    );
    assert_eq!(workspace("gold/p/workspace_id=ü/f"), in_partition("gold/p/workspace_id=ü", "ü"));
    for path in ["silver/p/f.parquet", "silver/p/workspace_id=a/more/f", "silver/p/_change_data/f", "silver/p/workspace_id=%FF/f"]
    {
        assert_eq!(workspace(path).unwrap().1, None, "{path}");
    }
    let without_rows =
        ["_lake/runs/1/run.json", "silver/p/_delta_log/0.json", "silver/p/_delta_log/_sidecars/x.parquet", "other/p/f", "f"];
    for path in without_rows.into_iter().chain(["silver/p/deletion_vector_1.bin"]) {
        assert_eq!(workspace(path), None, "{path}");
    }
}

#[test]
fn very_many_partitions_are_counted_and_hashed() {
    let folders = |count: usize| (0..count).map(|i| format!("{i:05}")).collect::<Vec<_>>().into_iter();
    assert_eq!(serde_json::to_value(Partitions::of(folders(2))).unwrap(), serde_json::json!(["00000", "00001"]));
    assert!(matches!(Partitions::of(folders(LISTED_PARTITIONS)), Partitions::Listed(_)));
    let many = serde_json::to_value(Partitions::of(folders(LISTED_PARTITIONS + 1))).unwrap();
    assert_eq!((many["count"].as_u64(), many["sha256"].as_str().map(str::len)), (Some(1001), Some(64)));
    assert_eq!(serde_json::from_value::<Partitions>(many.clone()).unwrap(), Partitions::of(folders(LISTED_PARTITIONS + 1)));
}

#[test]
fn footprints_at_a_time_have_numbers_of_their_own() {
    let (one, other) = (of("acme"), of("acme"));
    assert_ne!(one.number(), other.number());
    let clone = one.clone();
    drop(one);
    assert_ne!(of("acme").number(), clone.number());
}
