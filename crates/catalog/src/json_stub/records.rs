//! The stub's records: one JSON object each.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use futures::future::try_join_all;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::lineage::TableLineage;
use crate::record::{RunRecord, TableRecord};

/// The form of the records. It changes when an older reader would misunderstand them.
const SCHEMA: &str = "lake.catalog.v1";

/// How many objects are read at the same time.
const CONCURRENT_READS: usize = 16;

#[derive(Debug)]
pub(super) struct Records {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// The lineage of a table and which run it is from.
#[derive(Debug, Serialize, Deserialize)]
struct LineageRecord {
    finished_at: DateTime<Utc>,
    run_id: String,
    lineage: TableLineage,
}

impl LineageRecord {
    fn is_newer_than(&self, other: &Self) -> bool {
        (self.finished_at, &self.run_id) > (other.finished_at, &other.run_id)
    }
}

impl Records {
    pub(super) fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { store, prefix }
    }

    pub(super) async fn put_tables(&self, tables: &[TableRecord]) -> Result<()> {
        let last_of_each: BTreeMap<&str, &TableRecord> = tables.iter().map(|table| (table.name.as_str(), table)).collect();
        let puts = last_of_each.into_iter().map(|(name, table)| async move {
            let path = self.path("tables", name);
            self.put(&path, table, PutMode::Overwrite).await.map_err(|error| storage("write", &path, error))
        });
        try_join_all(puts).await.map(drop)
    }

    pub(super) async fn tables(&self) -> Result<Vec<TableRecord>> {
        let folder = self.prefix.clone().join("tables");
        let listed = self.store.list(Some(&folder)).map_err(|error| storage("list", &folder, error));
        let read = listed.map_ok(|object| async move { self.get::<TableRecord>(&object.location).await });
        // A table that went between the listing and the reading is not there.
        let found: Vec<Option<(TableRecord, UpdateVersion)>> = read.try_buffer_unordered(CONCURRENT_READS).try_collect().await?;
        let mut tables: Vec<TableRecord> = found.into_iter().flatten().map(|(table, _)| table).collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tables)
    }

    /// The run's own object is written last: as long as it is missing, the lineage may be incomplete, and recording the run
    /// again completes it.
    pub(super) async fn put_run(&self, run: &RunRecord) -> Result<()> {
        let path = self.path("runs", &run.run_id);
        match self.store.head(&path).await {
            Ok(_) => return Ok(()),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(storage("read", &path, error)),
        }
        let last_of_each: BTreeMap<&str, &TableLineage> =
            run.lineage.iter().map(|lineage| (lineage.output.as_str(), lineage)).collect();
        try_join_all(last_of_each.into_values().map(|lineage| self.put_lineage(run, lineage))).await?;
        match self.put(&path, run, PutMode::Create).await {
            Ok(()) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(storage("write", &path, error)),
        }
    }

    /// Writes the lineage unless a run that ended later has written it. Where the store can compare and swap, two processes
    /// cannot undo each other's work; where it cannot (a local disk), the last of two that write in the same instant stays.
    async fn put_lineage(&self, run: &RunRecord, lineage: &TableLineage) -> Result<()> {
        let path = self.path("lineage", &lineage.output);
        let lineage = TableLineage { run_id: Some(run.run_id.clone()), ..lineage.clone() };
        let record = LineageRecord { finished_at: run.finished_at, run_id: run.run_id.clone(), lineage };
        loop {
            let mode = match self.get::<LineageRecord>(&path).await? {
                Some((known, _)) if !record.is_newer_than(&known) => return Ok(()),
                Some((_, version)) => PutMode::Update(version),
                None => PutMode::Create,
            };
            let put = match self.put(&path, &record, mode).await {
                Err(StoreError::NotImplemented { .. }) => self.put(&path, &record, PutMode::Overwrite).await,
                other => other,
            };
            match put {
                Ok(()) => return Ok(()),
                Err(StoreError::Precondition { .. } | StoreError::AlreadyExists { .. }) => {}
                Err(error) => return Err(storage("write", &path, error)),
            }
        }
    }

    pub(super) async fn lineage(&self, table: &str) -> Result<Option<TableLineage>> {
        let found = self.get::<LineageRecord>(&self.path("lineage", table)).await?;
        Ok(found.map(|(record, _)| record.lineage))
    }

    /// The name is one part of the path, whatever is in it: what a path cannot hold is percent-encoded.
    fn path(&self, folder: &str, name: &str) -> Path {
        self.prefix.clone().join(folder).join(format!("{name}.json"))
    }

    async fn put<T: Serialize>(&self, path: &Path, record: &T, mode: PutMode) -> Result<(), StoreError> {
        let bytes = encode(record).map_err(|source| StoreError::Generic { store: "catalog", source: source.into() })?;
        self.store.put_opts(path, bytes.into(), PutOptions::from(mode)).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<(T, UpdateVersion)>> {
        let found = match self.store.get(path).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(storage("read", path, error)),
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(|error| storage("read", path, error))?;
        Ok(Some((decode(path, &bytes)?, version)))
    }
}

fn encode<T: Serialize>(record: &T) -> serde_json::Result<Vec<u8>> {
    let mut object = Map::from_iter([("schema".to_owned(), Value::from(SCHEMA))]);
    if let Value::Object(fields) = serde_json::to_value(record)? {
        object.extend(fields);
    }
    let mut bytes = serde_json::to_vec_pretty(&object)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| damaged(path, error))?;
    match value.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => serde_json::from_value(value).map_err(|error| damaged(path, error)),
        Some(other) => Err(Error::new(ErrorKind::Storage, format!("the catalog record `{path}` has the form `{other}`"))
            .with_hint(format!("this version of lake reads `{SCHEMA}`; use the version that wrote the record"))),
        None => Err(Error::new(ErrorKind::Storage, format!("`{path}` is not a catalog record")).with_hint("remove it")),
    }
}

fn damaged(path: &Path, error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("the catalog record `{path}` is damaged"))
        .with_hint("remove it; the next run writes it again")
        .with_source(error)
}

fn storage(action: &str, path: &Path, error: StoreError) -> Error {
    Error::new(ErrorKind::Storage, format!("cannot {action} the catalog record `{path}`")).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};
    use serde_json::json;

    use super::*;
    use crate::record::RunStatus;

    fn run(run_id: &str, second: u32, tables: &[&str]) -> RunRecord {
        let at = DateTime::from_timestamp(1_700_000_000 + i64::from(second), 0).unwrap();
        let lineage = |output: &&str| TableLineage {
            output: (*output).into(),
            inputs: vec![],
            columns: vec![],
            indirect: vec![],
            sql: None,
            run_id: None,
            version: None,
        };
        RunRecord {
            run_id: run_id.into(),
            pipeline: "p".into(),
            status: RunStatus::Succeeded,
            started_at: at,
            finished_at: at,
            lineage: tables.iter().map(lineage).collect(),
            report: json!({"tables": []}),
        }
    }

    async fn paths(store: &InMemory) -> Vec<String> {
        let mut paths: Vec<String> = store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
        paths.sort();
        paths
    }

    #[tokio::test]
    async fn each_record_is_one_object_with_the_name_of_its_schema() {
        let store = Arc::new(InMemory::new());
        let records = Records::new(store.clone(), Path::from("_lake/catalog"));
        records.put_run(&run("r1", 0, &["silver.posts", "gold.a/b"])).await.unwrap();
        let expected =
            ["_lake/catalog/lineage/gold.a%2Fb.json", "_lake/catalog/lineage/silver.posts.json", "_lake/catalog/runs/r1.json"];
        assert_eq!(paths(&store).await, expected);
        let bytes = store.get(&Path::from("_lake/catalog/runs/r1.json")).await.unwrap().bytes().await.unwrap();
        assert!(bytes.starts_with(b"{\n  \"schema\": \"lake.catalog.v1\",\n  \"run_id\": \"r1\""));
    }

    #[tokio::test]
    async fn a_run_that_died_before_its_own_object_was_written_is_completed_by_recording_it_again() {
        let store = Arc::new(InMemory::new());
        let records = Records::new(store.clone(), Path::default());
        let recorded = run("r1", 0, &["silver.a", "silver.b"]);
        records.put_run(&recorded).await.unwrap();
        store.delete(&Path::from("runs/r1.json")).await.unwrap();
        store.delete(&Path::from("lineage/silver.b.json")).await.unwrap();
        records.put_run(&run("r2", 5, &["silver.a"])).await.unwrap();
        records.put_run(&recorded).await.unwrap();
        let run_of = async |table| records.lineage(table).await.unwrap().and_then(|lineage| lineage.run_id);
        assert_eq!((run_of("silver.a").await.as_deref(), run_of("silver.b").await.as_deref()), (Some("r2"), Some("r1")));
    }

    #[tokio::test]
    async fn of_runs_recorded_at_the_same_time_the_one_that_ended_last_stays() {
        let wait = Duration::from_millis(1);
        let slow = ThrottleConfig { wait_get_per_call: wait, wait_put_per_call: wait, ..ThrottleConfig::default() };
        let records = Records::new(Arc::new(ThrottledStore::new(InMemory::new(), slow)), Path::default());
        let runs: Vec<RunRecord> = (1..8).rev().map(|second| run(&format!("r{second}"), second, &["silver.a"])).collect();
        records.put_run(&run("r0", 0, &["silver.a"])).await.unwrap();
        try_join_all(runs.iter().map(|run| records.put_run(run))).await.unwrap();
        assert_eq!(records.lineage("silver.a").await.unwrap().and_then(|lineage| lineage.run_id).as_deref(), Some("r7"));
    }

    #[tokio::test]
    async fn a_record_of_another_form_is_refused_with_its_name() {
        let store = Arc::new(InMemory::new());
        let records = Records::new(store.clone(), Path::default());
        for (text, message) in [
            (r#"{"schema": "lake.catalog.v9"}"#, "the catalog record `tables/x.json` has the form `lake.catalog.v9`"),
            (r#"{"name": "x"}"#, "`tables/x.json` is not a catalog record"),
            (r#"{"schema": "lake.catalog.v1"}"#, "the catalog record `tables/x.json` is damaged"),
            ("{", "the catalog record `tables/x.json` is damaged"),
        ] {
            store.put(&Path::from("tables/x.json"), text.into()).await.unwrap();
            let error = records.tables().await.unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Storage, message));
        }
    }
}
