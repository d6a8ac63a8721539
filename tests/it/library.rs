//! The library as a service embeds it.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use lake::table::At;
use lake::{ErrorKind, Lake, Once};
use lake_tests::bench::{Bench, Place};

use crate::opened;

everywhere!(async
    rows_of_each_workspace_are_written_and_read_apart,
    a_write_with_a_number_happens_once,
    many_writers_lose_and_double_nothing,
    merged_rows_replace_those_of_the_same_key_and_old_versions_stay_readable,
    rows_that_claim_another_workspace_are_refused,
    columns_that_do_not_fit_the_table_are_named,
);

fn rows(ids: &[i64], text: &str) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("text", DataType::Utf8, true)]);
    let texts = StringArray::from(vec![text; ids.len()]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(texts)]).unwrap()
}

fn lake(place: Place) -> (Lake, Bench) {
    let bench = Bench::on(place);
    (opened(&bench), bench)
}

async fn count(lake: &Lake, workspace: &str, sql: &str) -> i64 {
    let batches = lake.workspace(workspace).unwrap().collect(sql).await.unwrap();
    batches.iter().map(|b| b.column(0).as_primitive::<Int64Type>().value(0)).sum()
}

async fn rows_of_each_workspace_are_written_and_read_apart(place: Place) {
    let (lake, _bench) = lake(place);
    for workspace in ["acme", "globex & söhne/ü", "with space"] {
        lake.workspace(workspace).unwrap().append("silver.notes", &[rows(&[1, 2], workspace)], None).await.unwrap();
    }
    for workspace in ["acme", "globex & söhne/ü", "with space"] {
        let table = lake.workspace(workspace).unwrap().table("silver.notes").await.unwrap();
        let batches = table.read().await.unwrap();
        let texts: Vec<_> = batches
            .iter()
            .flat_map(|b| {
                b.column_by_name("text").unwrap().as_string::<i32>().iter().map(|t| t.unwrap().to_string()).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(texts, [workspace, workspace]);
    }
    assert_eq!(count(&lake, "nobody", "SELECT count(*) FROM silver.notes").await, 0);
}

async fn a_write_with_a_number_happens_once(place: Place) {
    let (lake, _bench) = lake(place);
    let acme = lake.workspace("acme").unwrap();
    let once = |number| Some(Once { name: "orders@eu".into(), number });
    let first = acme.append("silver.notes", &[rows(&[1], "a")], once(7)).await.unwrap();
    assert!(!first.repeated);
    let again = acme.append("silver.notes", &[rows(&[1], "a")], once(7)).await.unwrap();
    assert!(again.repeated && again.rows == 0);
    acme.append("silver.notes", &[rows(&[2], "b")], once(8)).await.unwrap();
    lake.workspace("globex").unwrap().append("silver.notes", &[rows(&[3], "c")], once(7)).await.unwrap();
    assert_eq!(count(&lake, "acme", "SELECT count(*) FROM silver.notes").await, 2);
    assert_eq!(count(&lake, "globex", "SELECT count(*) FROM silver.notes").await, 1);
}

async fn many_writers_lose_and_double_nothing(place: Place) {
    let (lake, _bench) = lake(place);
    lake.workspace("w0").unwrap().append("silver.notes", &[rows(&[-1], "seed")], None).await.unwrap();
    let writers = (0..6).map(|w| {
        let workspace = lake.workspace(&format!("w{}", w % 2)).unwrap();
        tokio::spawn(async move {
            for i in 0..5 {
                workspace.append("silver.notes", &[rows(&[w * 100 + i], "x")], None).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let total = count(&lake, "w0", "SELECT count(DISTINCT id) FROM silver.notes").await
        + count(&lake, "w1", "SELECT count(*) FROM silver.notes").await;
    assert_eq!(total, 31);
}

async fn merged_rows_replace_those_of_the_same_key_and_old_versions_stay_readable(place: Place) {
    let (lake, _bench) = lake(place);
    let acme = lake.workspace("acme").unwrap();
    let first = acme.merge("silver.notes", &[rows(&[1, 2], "old")], &["id"], None, None).await.unwrap();
    acme.merge("silver.notes", &[rows(&[2, 3], "new")], &["id"], None, None).await.unwrap();
    let sql = "SELECT count(*) FROM silver.notes WHERE text = 'new'";
    assert_eq!(count(&lake, "acme", sql).await, 2);
    assert_eq!(count(&lake, "acme", "SELECT count(*) FROM silver.notes").await, 3);
    let then = acme.at(At::Version(first.version)).collect("SELECT count(*) FROM silver.notes").await.unwrap();
    assert_eq!(then[0].column(0).as_primitive::<Int64Type>().value(0), 2);
}

async fn rows_that_claim_another_workspace_are_refused(place: Place) {
    let (lake, _bench) = lake(place);
    let batch = rows(&[1], "x");
    let schema = Schema::new(
        batch
            .schema()
            .fields()
            .iter()
            .cloned()
            .chain([Arc::new(Field::new("workspace_id", DataType::Utf8, true))])
            .collect::<Vec<_>>(),
    );
    let columns = batch.columns().iter().cloned().chain([Arc::new(StringArray::from(vec!["globex"])) as _]).collect();
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let error = lake.workspace("acme").unwrap().append("silver.notes", &[batch], None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(lake.tables().await.unwrap().is_empty());
}

async fn columns_that_do_not_fit_the_table_are_named(place: Place) {
    let (lake, _bench) = lake(place);
    let acme = lake.workspace("acme").unwrap();
    acme.append("silver.notes", &[rows(&[1], "x")], None).await.unwrap();
    let schema = Schema::new(vec![Field::new("id", DataType::Utf8, true)]);
    let wrong = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(StringArray::from(vec!["1"]))]).unwrap();
    let error = acme.append("silver.notes", &[wrong], None).await.unwrap_err();
    assert!(error.to_string().contains("`silver.notes.id`"), "{error}");
}
