use lake::engine::{Engine, EngineOptions};
use lake::table::Scope;
use lake::{Lake, WorkspaceId};

use super::*;
use crate::ingest::source::SourceFile;

const EXACT: fn(u64) -> Option<Quantity> = |n| Some(Quantity::Exact(n));
const ABOUT: fn(u64) -> Option<Quantity> = |n| Some(Quantity::Estimate(n));

fn source(path: &str, size: u64) -> SourceFile {
    SourceFile { path: path.into(), size, modified: 0, etag: None, fingerprint: 1 }
}

fn name() -> TableName {
    "bronze.posts".parse().unwrap()
}

fn intended<'a>(name: &'a TableName, scope: &'a Scope, engine: &'a Engine) -> Intended<'a> {
    Intended { name, table: None, existed: false, scope, loaded: 0, readers: 1, engine }
}

#[test]
fn of_a_first_load_the_files_are_known_and_the_rows_are_not() {
    let (name, engine) = (name(), Engine::new(EngineOptions::default()).unwrap());
    let plan = intended(&name, &Scope::Feed, &engine).files([&source("a", 10), &source("b", 20)]).unwrap();
    assert_eq!((plan.action, plan.reason.as_str()), (Action::Build, "2 new or changed files"));
    assert_eq!([plan.files_read, plan.bytes_read, plan.input_rows], [EXACT(2), EXACT(30), None]);
    assert_eq!([plan.files_rewritten, plan.bytes_rewritten, plan.rows_rewritten], [EXACT(0); 3]);
    assert_eq!([plan.files_written, plan.bytes_written, plan.rows_written], [None; 3]);
    assert!(matches!(plan.peak_memory_bytes, Some(Quantity::Estimate(_))));
}

#[test]
fn under_a_limit_the_peak_is_one_and_a_half_times_of_it() {
    let engine = Engine::new(EngineOptions { memory: Some(1 << 30), ..EngineOptions::default() }).unwrap();
    let (name, scope) = (name(), Scope::Workspace(WorkspaceId::new("acme").unwrap()));
    let program = intended(&name, &scope, &engine).program();
    assert_eq!(program.peak_memory_bytes, Some(Quantity::AtMost(3 << 29)));
    assert_eq!([program.files_read, program.bytes_read, program.input_rows], [None; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_loads_are_told_by_what_earlier_ones_came_to() {
    let folder = tempfile::tempdir().unwrap();
    let lake = Lake::builder().uri(folder.path().to_str().unwrap()).build().unwrap();
    let (name, scope) = (name(), Scope::Workspace(WorkspaceId::new("acme").unwrap()));
    let rows: Vec<&str> = vec!["acme"; 10];
    let table = stored(&lake, &name, &rows).await;
    let bytes = table.files(&scope).unwrap().iter().map(|f| f.size).sum::<u64>();
    let intended = Intended { table: Some(&table), existed: true, loaded: 100, ..intended(&name, &scope, lake.engine()) };
    let plan = intended.files([&source("b", 30)]).unwrap();
    assert_eq!(plan.action, Action::Append);
    assert_eq!([plan.files_read, plan.bytes_read, plan.input_rows], [EXACT(1), EXACT(30), ABOUT(3)]);
    assert_eq!(
        [plan.files_written, plan.bytes_written, plan.rows_written],
        [ABOUT(1), ABOUT((bytes * 30).div_ceil(100)), ABOUT(3)]
    );

    let outlook = Outlook::of(&plan, Layer::Bronze, table.files(&scope).unwrap().iter().collect());
    assert_eq!((outlook.new.rows, outlook.after.rows), (ABOUT(3), ABOUT(13)));
    let nothing = intended.files([]).unwrap();
    assert_eq!((nothing.action, nothing.input_rows, nothing.peak_memory_bytes), (Action::None, EXACT(0), None));
}

#[test]
fn a_table_that_is_made_anew_comes_to_what_is_written() {
    let (name, now) = ("silver.posts".parse().unwrap(), Volume { files: 2, bytes: 50, rows: Some(5) });
    let write = Amount::from(Volume { files: 1, bytes: 30, rows: Some(3) });
    let cost = Cost { read: Amount::NONE, rewrite: Amount::from(now), write };
    let after = |action, layer| Outlook::of(&table_plan(&name, action, String::new(), cost, None), layer, now).after.rows;
    assert_eq!(after(Action::Merge, Layer::Silver), ABOUT(8));
    assert_eq!(after(Action::Replace, Layer::Silver), ABOUT(3));
    assert_eq!(after(Action::Replace, Layer::Gold), ABOUT(5));
}

/// A table with one row for each of `workspaces`.
async fn stored(lake: &Lake, name: &TableName, workspaces: &[&str]) -> Snapshot {
    use arrow::array::{RecordBatch, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use lake::report::Strategy;
    use lake::table::{Change, TableWriter, WriterOptions, with_workspace};

    let schema = Schema::new(vec![Field::new("text", DataType::Utf8, true)]);
    let table = Snapshot::create(lake.root(), name, &schema, &[], None).await.unwrap();
    let mut writer = TableWriter::new(&table, with_workspace(&schema), WriterOptions::of(lake.engine()));
    let column = std::sync::Arc::new(StringArray::from(workspaces.to_vec()));
    writer.write(&RecordBatch::try_new(with_workspace(&schema), vec![column.clone(), column]).unwrap()).await.unwrap();
    let change = Change { adds: writer.finish().await.unwrap(), ..Change::default() };
    table.commit(change, Strategy::Append, "test").await.unwrap();
    lake.snapshot(name, At::Latest).await.unwrap().unwrap()
}
