//! Every SQL trick, run against a lake with a victim and against one without: nothing may differ.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use lake::Lake;
use lake_tests::bench::{Bench, Place};
use lake_tests::isolation::{ASKER, Expectation, VICTIM, VICTIM_LIKES, VICTIM_MARK, fixtures};

use crate::opened;

everywhere!(async
    no_statement_sees_or_touches_another_workspace,
);

fn posts(mark: &str, likes: &[i64]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("post_id", DataType::Utf8, true),
        Field::new("author", DataType::Utf8, true),
        Field::new("brand", DataType::Utf8, true),
        Field::new("body", DataType::Utf8, true),
        Field::new("likes", DataType::Int64, true),
        Field::new("posted_at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]);
    let text = |what: &str| Arc::new((0..likes.len()).map(|i| Some(format!("{mark} {what} {i}"))).collect::<StringArray>());
    let times = TimestampMicrosecondArray::from_iter_values((0..likes.len()).map(|i| 1_700_000_000_000_000 + i as i64))
        .with_timezone("UTC");
    let columns: Vec<arrow::array::ArrayRef> = vec![
        text("id"),
        text("author"),
        text("brand"),
        text("body"),
        Arc::new(Int64Array::from(likes.to_vec())),
        Arc::new(times),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn mentions(mark: &str, counts: &[i64]) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("brand", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
        Field::new("n", DataType::Int64, true),
    ]);
    let brands = (0..counts.len()).map(|i| Some(format!("{mark} brand {i}"))).collect::<StringArray>();
    let days = arrow::array::Date32Array::from_iter_values((0..counts.len()).map(|i| 19_000 + i as i32));
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(brands), Arc::new(days), Arc::new(Int64Array::from(counts.to_vec()))])
        .unwrap()
}

async fn seeded(bench: &Bench, with_victim: bool) -> Lake {
    let lake = opened(bench);
    let mut tenants = vec![(ASKER, "acme-own", vec![1, 2, 3], vec![5, 6])];
    if with_victim {
        tenants.push((VICTIM, VICTIM_MARK, vec![7, VICTIM_LIKES], vec![9]));
    }
    for (workspace, mark, likes, counts) in tenants {
        let workspace = lake.workspace(workspace).unwrap();
        for table in ["bronze.posts", "silver.posts", "silver.posts_quarantine", "silver.posts_tombstones"] {
            workspace.append(table, &[posts(mark, &likes)], None).await.unwrap();
        }
        workspace.append("gold.daily_mentions", &[mentions(mark, &counts)], None).await.unwrap();
    }
    lake
}

/// The rows, sorted, or the error with what differs from lake to lake left out.
async fn outcome(lake: &Lake, root: &str, sql: &str) -> (bool, String) {
    let result = async { lake.workspace(ASKER)?.collect(sql).await }.await;
    let (fine, text) = match result {
        Ok(batches) => {
            let mut lines: Vec<_> = pretty_format_batches(&batches).unwrap().to_string().lines().map(String::from).collect();
            lines.sort();
            (true, lines.join("\n"))
        }
        Err(error) => (false, format!("{error} {:?}", error.hint())),
    };
    (fine, without_file_ids(&text.replace(root, "LAKE")))
}

/// The names of files hold an id that differs from lake to lake: `part-00000-<36 characters>`.
fn without_file_ids(text: &str) -> String {
    let mut parts = text.split("part-00000-");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |all, part| all + "part-" + part.get(36..).unwrap_or(part))
}

fn is_explained(sql: &str) -> bool {
    sql.to_lowercase().lines().any(|l| l.trim_start().starts_with("explain"))
}

async fn no_statement_sees_or_touches_another_workspace(place: Place) {
    let (with, without) = (Bench::on(place), Bench::on(place));
    let (lake, alone) = (seeded(&with, true).await, seeded(&without, false).await);
    let (root, root_alone) = (with.location().uri, without.location().uri);
    let before = with.files();
    let mut leaks = vec![];
    let cases = fixtures();
    for case in &cases {
        let sql = case.sql_at(&root);
        let (fine, text) = outcome(&lake, &root, &sql).await;
        let (_, expected) = outcome(&alone, &root_alone, &case.sql_at(&root_alone)).await;
        if text.contains(VICTIM_MARK) || text.contains(&VICTIM_LIKES.to_string()) && !sql.contains(&VICTIM_LIKES.to_string()) {
            leaks.push(format!("{}: shows the victim's rows: {text}", case.name));
        }
        // A plan names files and counts rows, which differ from lake to lake; the mark above is what counts there.
        if !is_explained(&sql) && text != expected {
            leaks.push(format!("{}: differs from a lake without the victim:\n{text}\n--\n{expected}", case.name));
        }
        match case.expect {
            Expectation::Refused if fine => leaks.push(format!("{}: was not refused: {text}", case.name)),
            Expectation::OwnRowsOnly if !fine => leaks.push(format!("{}: failed: {text}", case.name)),
            _ => {}
        }
    }
    assert!(cases.len() >= 25);
    assert_eq!(with.files(), before, "a statement wrote");
    assert!(leaks.is_empty(), "{} of {} statements:\n{}", leaks.len(), cases.len(), leaks.join("\n\n"));
}
