//! The merge against a plain model, over any cutting of the events into batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use object_store::ObjectStoreExt;
use proptest::prelude::*;

use crate::Lake;
use crate::merge::{Candidates, MergeOutcome, MergeSpec, Sequence, merge_candidates};
use crate::pipeline::{Layer, TableName};
use crate::report::Strategy as How;
use crate::spool::Spool;
use crate::table::{At, Change, Scope, Snapshot, TableWriter, WriterOptions};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    workspace: &'static str,
    key: i64,
    sequence: Option<i64>,
    delete: bool,
    text: Option<String>,
}

fn spec(sequence: Sequence) -> MergeSpec {
    let columns = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("at", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
    ]);
    MergeSpec { columns: Arc::new(columns), key: vec!["id".into()], sequence, merge_on_read: false }
}

fn batch(spec: &MergeSpec, events: &[Event]) -> RecordBatch {
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(events.iter().map(|e| Some(e.key)).collect::<Int64Array>()),
        Arc::new(events.iter().map(|e| e.sequence).collect::<Int64Array>()),
        Arc::new(events.iter().map(|e| e.text.clone()).collect::<StringArray>()),
        Arc::new(events.iter().map(|e| Some(e.workspace)).collect::<StringArray>()),
        Arc::new(events.iter().map(|e| Some(e.delete)).collect::<BooleanArray>()),
    ];
    if spec.sequence == Sequence::Arrival {
        columns.push(Arc::new(arrow::array::UInt64Array::from_iter_values(0..events.len() as u64)));
    }
    RecordBatch::try_new(spec.candidates(), columns).unwrap()
}

/// How winners and rows of the table find each other.
#[derive(Debug, Clone, Copy)]
enum Meeting {
    Lookup,
    /// By hashes that are often equal though the keys are not.
    LookupOfPoorHashes,
    /// Part by part of the hashes, which are on disk, and tie by tie.
    LookupInPieces,
}

/// A table and its tombstones, merged into batch by batch.
struct Bench {
    meeting: Meeting,
    lake: Lake,
    _folder: tempfile::TempDir,
    spec: MergeSpec,
    name: TableName,
}

impl Bench {
    async fn new(sequence: Sequence, meeting: Meeting) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::builder().uri(folder.path().to_str().unwrap()).threads(2).build().unwrap();
        let spec = spec(sequence);
        let name = TableName::new(Layer::Silver, "t");
        Snapshot::create(lake.root(), &name, &spec.columns, &["id".into()], None).await.unwrap();
        if let Some(schema) = spec.tombstones() {
            Snapshot::create(lake.root(), &name.tombstones(), &schema, &[], None).await.unwrap();
        }
        Self { meeting, lake, _folder: folder, spec, name }
    }

    /// Merges one batch; checks that every event is accounted for.
    async fn apply(&self, events: &[Event]) -> MergeOutcome {
        let table = self.lake.snapshot(&self.name, At::Latest).await.unwrap().unwrap();
        let tombstones = self.lake.snapshot(&self.name.tombstones(), At::Latest).await.unwrap();
        let mut rows = Candidates::new(&self.spec, self.lake.engine()).unwrap();
        match self.meeting {
            Meeting::Lookup => {}
            Meeting::LookupOfPoorHashes => rows.hasher.bits = 3 << 56,
            Meeting::LookupInPieces => (rows.compared, rows.ties, rows.keys.limit) = (usize::MAX / 2, 1, 0),
        }
        events.chunks(7).for_each(|events| rows.push(&batch(&self.spec, events)).unwrap());
        let merging = merge_candidates(self.lake.engine(), &self.spec, &table, tombstones.as_ref(), rows, &Scope::Feed, false);
        let done = merging.await.unwrap();
        assert_eq!(done.written + done.deleted + done.superseded, events.len() as u64);
        if let Some(table) = &tombstones {
            let schema = crate::table::with_workspace(&self.spec.tombstones().unwrap());
            let mut writer = TableWriter::new(table, schema.clone(), WriterOptions::of(self.lake.engine()));
            for batch in done.tombstones.iter().flat_map(Spool::batches) {
                writer.write(&crate::table::conform(&batch.unwrap(), &schema).unwrap()).await.unwrap();
            }
            let change = Change { adds: writer.finish().await.unwrap(), ..Default::default() };
            table.commit(change, How::Append, "run").await.unwrap();
        }
        let adds = done.adds.iter().chain(&done.marked).cloned().collect();
        let (removes, moves, deletion_vectors) = (done.removes.clone(), done.moves.clone(), self.spec.merge_on_read);
        let change = Change { adds, removes, moves, deletion_vectors, ..Default::default() };
        table.commit(change, done.strategy.unwrap(), "run").await.unwrap();
        self.check_changes(&table).await;
        done
    }

    /// What the last commit says of rows that came and went leads from the table `before` to the table now.
    async fn check_changes(&self, before: &Snapshot) {
        let now = self.lake.snapshot(&self.name, At::Latest).await.unwrap().unwrap();
        let changes = now.row_changes_since(before.version(), &Scope::Feed).await.unwrap().unwrap();
        let [change] = changes.as_slice() else { panic!("not one commit") };
        let mut rows = self.all_rows(before.scan_files(before.files(&Scope::Feed).unwrap())).await;
        if let Some(changed) = now.scan_changed(&[], &change.removed).await.unwrap() {
            for row in self.all_rows(changed.all).await {
                let at = rows.iter().position(|r| *r == row).unwrap_or_else(|| panic!("{row} was not there"));
                rows.swap_remove(at);
            }
        }
        rows.extend(self.all_rows(now.scan_changed(&change.added, &[]).await.unwrap().unwrap().all).await);
        rows.sort();
        assert_eq!(rows, self.all_rows(now.scan_files(now.files(&Scope::Feed).unwrap())).await);
    }

    /// The rows of a scan as text, in order.
    async fn all_rows(&self, scan: Arc<dyn datafusion::catalog::TableProvider>) -> Vec<String> {
        let session = self.lake.engine().scratch_session();
        let frame = session.read_table(scan).unwrap();
        let columns = ["workspace_id", "id", "at", "text"].map(datafusion::prelude::col);
        let mut rows = vec![];
        for batch in frame.select(columns).unwrap().collect().await.unwrap() {
            for row in 0..batch.num_rows() {
                let value = |c: &ArrayRef| arrow::util::display::array_value_to_string(c, row).unwrap();
                let values = batch.columns().iter().map(|c| if c.is_null(row) { "null".into() } else { value(c) });
                rows.push(values.collect::<Vec<_>>().join("|"));
            }
        }
        rows.sort();
        rows
    }

    async fn rows(&self, workspace: &str) -> BTreeMap<i64, (Option<i64>, Option<String>)> {
        let batches = self.lake.workspace(workspace).unwrap().table("silver.t").await.unwrap().read().await.unwrap();
        let mut rows = BTreeMap::new();
        for batch in batches {
            let (id, at) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
            let text = batch.column(2).as_string::<i32>();
            for i in 0..batch.num_rows() {
                let row = (at.is_valid(i).then(|| at.value(i)), text.is_valid(i).then(|| text.value(i).to_string()));
                assert!(rows.insert(id.value(i), row).is_none(), "key {} twice", id.value(i));
            }
        }
        rows
    }
}

/// The greatest event of each key by sequence, delete, text: what is left of it when it is no delete.
fn model(events: &[Event], workspace: &str) -> BTreeMap<i64, (Option<i64>, Option<String>)> {
    let mut latest: BTreeMap<i64, &Event> = BTreeMap::new();
    let order = |e: &Event| (e.sequence, e.delete, e.text.clone());
    for event in events.iter().filter(|e| e.workspace == workspace) {
        let best = latest.entry(event.key).or_insert(event);
        if order(event) > order(best) {
            *best = event;
        }
    }
    latest.into_iter().filter(|(_, e)| !e.delete).map(|(k, e)| (k, (e.sequence, e.text.clone()))).collect()
}

fn event() -> impl Strategy<Value = Event> {
    let workspace = prop_oneof![Just("acme"), Just("globex inc/ü")];
    let text = prop_oneof![Just(None), "[a-c]{0,2}".prop_map(Some)];
    (workspace, 0..8i64, prop::option::weighted(0.9, 0..6i64), prop::bool::weighted(0.25), text).prop_map(
        |(workspace, key, sequence, delete, text)| Event {
            workspace,
            key,
            sequence: if delete { sequence.or(Some(0)) } else { sequence },
            delete,
            text,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 60, ..Default::default() })]

    #[test]
    fn any_cutting_into_batches_gives_what_all_events_at_once_give(
        batches in prop::collection::vec(prop::collection::vec(event(), 1..25), 1..5),
        meeting in prop_oneof![Just(Meeting::Lookup), Just(Meeting::LookupOfPoorHashes), Just(Meeting::LookupInPieces)],
        marks in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::new(Sequence::Column("at".into()), meeting).await;
            bench.spec.merge_on_read = marks;
            for events in &batches {
                bench.apply(events).await;
            }
            let all: Vec<Event> = batches.concat();
            for workspace in ["acme", "globex inc/ü"] {
                assert_eq!(bench.rows(workspace).await, model(&all, workspace), "{workspace}");
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sequence_the_row_that_arrived_later_wins() {
    let bench = Bench::new(Sequence::Arrival, Meeting::Lookup).await;
    let event = |key, text: &str, delete| Event { workspace: "acme", key, sequence: None, delete, text: Some(text.into()) };
    bench.apply(&[event(1, "first", false), event(1, "again", false), event(2, "two", false)]).await;
    bench.apply(&[event(1, "later", false), event(2, "", true), event(3, "", true)]).await;
    assert_eq!(bench.rows("acme").await, [(1, (None, Some("later".to_string())))].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_that_hold_a_beaten_row_are_rewritten() {
    let bench = Bench::new(Sequence::Column("at".into()), Meeting::Lookup).await;
    let event = |workspace, key, sequence| Event { workspace, key, sequence: Some(sequence), delete: false, text: None };
    bench.apply(&[event("acme", 1, 1), event("globex inc/ü", 1, 1)]).await;
    let before = bench.lake.snapshot(&bench.name, At::Latest).await.unwrap().unwrap().files(&Scope::Feed).unwrap();
    bench.apply(&[event("acme", 1, 2), event("globex inc/ü", 1, 0)]).await;
    let after = bench.lake.snapshot(&bench.name, At::Latest).await.unwrap().unwrap().files(&Scope::Feed).unwrap();
    let kept = |w: &str| before.iter().any(|f| f.workspace.as_deref() == Some(w) && after.contains(f));
    assert!(kept("globex inc/ü"), "a stale row rewrote a file");
    assert!(!kept("acme"));
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rows_of_a_file_are_marked_and_many_written_anew_where_readers_know() {
    let mut bench = Bench::new(Sequence::Column("at".into()), Meeting::Lookup).await;
    bench.spec.merge_on_read = true;
    let event = |key, sequence| Event { workspace: "acme", key, sequence: Some(sequence), delete: false, text: None };
    let files = async || bench.lake.snapshot(&bench.name, At::Latest).await.unwrap().unwrap().files(&Scope::Feed).unwrap();
    let made = bench.apply(&(0..100).map(|key| event(key, 0)).collect::<Vec<_>>()).await;
    assert_eq!(made.strategy, Some(How::Append));
    let first = files().await.remove(0);
    for (keys, deleted) in [(0..10, 10), (10..25, 25)] {
        let made = bench.apply(&keys.map(|key| event(key, 1)).collect::<Vec<_>>()).await;
        assert_eq!((made.strategy, made.reason.as_deref()), (Some(How::MergeOnRead), Some("few rows of 1 file changed")));
        assert_eq!(made.marked.len(), 1);
        let stays = files().await.into_iter().find(|f| f.path == first.path).unwrap();
        assert_eq!((stays.rows, stays.deleted.as_ref().map(|d| d.count())), (Some(100 - deleted), Some(deleted)));
    }
    let made = bench.apply(&[event(25, 1), event(0, 2)]).await;
    assert_eq!(made.reason.as_deref(), Some("few rows of 1 file changed; many did of 1 file, written anew"));
    assert!(files().await.iter().all(|f| f.path != first.path));
    let rows = bench.rows("acme").await;
    assert_eq!((rows.len(), rows[&0].0, rows[&25].0, rows[&26].0), (100, Some(2), Some(1), Some(0)));
    // Without leave to mark, files with marks are written anew as others are.
    bench.spec.merge_on_read = false;
    let made = bench.apply(&(0..100).map(|key| event(key, 3)).collect::<Vec<_>>()).await;
    assert_eq!(made.strategy, Some(How::Merge));
    assert!(files().await.iter().all(|f| f.deleted.is_none()));
    assert!(bench.rows("acme").await.values().all(|row| row.0 == Some(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_whose_statistics_rule_the_keys_out_are_not_read() {
    let bench = Bench::new(Sequence::Column("at".into()), Meeting::Lookup).await;
    let event = |key, sequence| Event { workspace: "acme", key, sequence: Some(sequence), delete: false, text: None };
    let some = |keys: std::ops::Range<i64>, sequence| keys.map(|key| event(key, sequence)).collect::<Vec<_>>();
    bench.apply(&some(0..10, 1)).await;
    bench.apply(&some(10..20, 1)).await;
    let table = bench.lake.snapshot(&bench.name, At::Latest).await.unwrap().unwrap();
    let least = |file: &crate::table::DataFile| file.stats.as_deref().is_some_and(|s| s.contains(r#""minValues":{"id":0"#));
    let first = table.files(&Scope::Feed).unwrap().into_iter().find(least).unwrap();
    // What is not read need not be there.
    table.delta().log_store().object_store(None).delete(&first.path).await.unwrap();
    let rows = || {
        let mut rows = Candidates::new(&bench.spec, bench.lake.engine()).unwrap();
        rows.push(&batch(&bench.spec, &some(15..25, 2))).unwrap();
        rows
    };
    let merging = merge_candidates(bench.lake.engine(), &bench.spec, &table, None, rows(), &Scope::Feed, false);
    let done = merging.await.unwrap();
    assert_eq!((done.removes.len(), done.written), (1, 10));
    let mut all = rows();
    all.push(&batch(&bench.spec, &[event(3, 2)])).unwrap();
    assert!(merge_candidates(bench.lake.engine(), &bench.spec, &table, None, all, &Scope::Feed, false).await.is_err());
}
