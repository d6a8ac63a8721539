//! One commit of one table: files in, files out, progress, and a schema change, all or nothing.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use arrow::datatypes::Schema;
use delta_kernel::table_features::TableFeature;
use deltalake::DeltaTableError;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake::kernel::{Action, Add, MetadataExt, Protocol, StructType, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::config::TablePropertiesExt;
use object_store::path::Path;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::TableName;
use crate::report::Strategy;
use crate::storage::{Root, explain};
use crate::table::history::At;
use crate::table::moves::Moves;
use crate::table::rebase::{Basis, overtaking};
use crate::table::snapshot::{Snapshot, folder};
use crate::table::write::with_workspace;
use crate::workspace_id::WORKSPACE_COLUMN;

/// Every so many commits the log gets a checkpoint: opening a table reads at most as many commits, and each checkpoint holds the whole table.
pub(crate) const CHECKPOINT_INTERVAL: u64 = 20;

/// How long the log keeps what each commit did. A reader that is further behind reads its input anew.
const LOG_RETENTION: &str = "interval 30 days";

/// What a commit does.
#[derive(Debug, Default)]
pub struct Change {
    /// Files whose rows come in.
    pub adds: Vec<Add>,
    /// Files whose rows go out; must be files of the snapshot.
    pub removes: HashSet<Path>,
    /// Progress that becomes true with this commit.
    pub transactions: Vec<Transaction>,
    /// New columns, when the schema changes with this commit.
    pub schema: Option<SchemaChange>,
    /// What is known of the rows of files that it rewrites.
    pub moves: Moves,
    /// Whether the table may have deletion vectors from now on, if it may not yet: older readers then refuse it.
    pub deletion_vectors: bool,
    /// The rows it was computed from: commits of others that leave those alone do not mean to compute anew.
    pub basis: Basis,
}

/// A new schema for a table.
#[derive(Debug)]
pub struct SchemaChange {
    /// All columns.
    pub schema: Schema,
    /// Columns that the log keeps minima and maxima of; `None` leaves the choice as it was.
    pub stats_columns: Option<Vec<String>>,
}

/// A commit that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The new version.
    pub version: i64,
    /// How often it was sent again after another writer's.
    pub resent: u32,
}

/// For how long a commit is sent again after those of others.
const RESEND_FOR: Duration = Duration::from_secs(120);

impl Snapshot {
    /// Creates an empty table at version 0.
    ///
    /// `stats_columns` are the columns the log keeps minima and maxima of: they are values of rows, so leave out what is personal.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another writer was first: open the table and decide anew. [`ErrorKind::Storage`] when the store
    /// refuses, [`ErrorKind::Internal`] when a column's type has no Delta form.
    pub async fn create(
        root: &Root,
        name: &TableName,
        schema: &Schema,
        stats_columns: &[String],
        description: Option<&str>,
    ) -> Result<Self> {
        let url = root.join(&folder(name))?;
        if let Ok(path) = url.to_file_path() {
            std::fs::create_dir_all(&path).map_err(|e| {
                Error::new(ErrorKind::Storage, format!("cannot create the folder of `{name}`: {e}")).with_source(e)
            })?;
        }
        let fields = kernel_schema(&with_workspace(schema))?;
        let bucket = root.bucket()?;
        let table = deltalake::DeltaTableBuilder::from_url(url.clone())
            .and_then(|b| b.with_storage_backend(bucket, url).build())
            .map_err(|e| delta_error(&format!("cannot create `{name}`"), e))?;
        let log = table.log_store();
        let mut create = table
            .create()
            .with_columns(fields.fields().cloned())
            .with_partition_columns([WORKSPACE_COLUMN])
            .with_table_name(name.to_string())
            .with_save_mode(SaveMode::ErrorIfExists)
            // Sent again after another writer's creation, it would replace that one's columns.
            .with_commit_properties(CommitProperties::default().with_max_retries(0))
            .with_configuration_property(deltalake::TableProperty::CheckpointInterval, Some(CHECKPOINT_INTERVAL.to_string()))
            .with_configuration_property(deltalake::TableProperty::LogRetentionDuration, Some(LOG_RETENTION));
        // An empty list of columns is not one that readers understand.
        create = match stats_columns {
            [] => create.with_configuration_property(deltalake::TableProperty::DataSkippingNumIndexedCols, Some("0")),
            _ => create
                .with_configuration_property(deltalake::TableProperty::DataSkippingStatsColumns, Some(stats_columns.join(","))),
        };
        if let Some(text) = description {
            create = create.with_comment(text);
        }
        match create.await {
            Ok(delta) => Ok(Self::new(name.clone(), delta)?.of_root(root)),
            Err(error) => {
                // Listings may lag behind what is there.
                let there = log.read_commit_entry(0).await.is_ok_and(|entry| entry.is_some());
                if there || Self::open(root, name, At::Latest).await?.is_some() {
                    // The other writer may have gone on to commit rows: what was read before is out of date.
                    return Err(
                        Error::new(ErrorKind::Conflict, format!("another writer created `{name}` first")).with_source(error)
                    );
                }
                Err(delta_error(&format!("cannot create `{name}`"), error))
            }
        }
    }

    /// Commits `change`: on this snapshot, or on a later one when the commits in between leave its basis and its progress alone. The log keeps
    /// `run_id` beside it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another commit came first that matters: open the table again, check its progress, and decide anew.
    /// [`ErrorKind::Internal`] when the job's [`crate::table::Footprint`] is not within its workspaces.
    pub async fn commit(&self, change: Change, strategy: Strategy, run_id: &str) -> Result<Committed> {
        self.check_footprint(&change)?;
        let mark = uuid::Uuid::now_v7().to_string();
        let moves = if change.moves.is_empty() { None } else { Some(self.keep_moves(&change.moves).await?) };
        let (mut base, mut resent, started) = (self.clone(), 0, Instant::now());
        loop {
            let error = match base.send(&change, strategy, run_id, &mark, moves.as_deref()).await {
                Ok(version) => return Ok(Committed { version, resent }),
                Err(error) => error,
            };
            let newer = match base.reloaded().await {
                Ok(newer) => newer,
                // Whether the commit was made cannot be known now; a rerun finds out.
                Err(_) => return Err(error),
            };
            let Some(others) = overtaking(base.delta().log_store().as_ref(), base.version(), newer.version()).await? else {
                return Err(error);
            };
            // An error can hide a commit that was made, when the answer of the store was lost or the clean-up after it failed.
            if let Some(own) = others.iter().position(|c| c.mark.as_ref() == Some(&mark)) {
                return Ok(Committed { version: base.version() + 1 + i64::try_from(own).unwrap_or_default(), resent });
            }
            let harmless = change.schema.is_none() && others.iter().all(|c| c.leaves(&change.basis, &change.transactions));
            if error.kind() != ErrorKind::Conflict || others.is_empty() || !harmless || started.elapsed() > RESEND_FOR {
                return Err(error);
            }
            base = newer;
            resent += 1;
            tokio::time::sleep(Duration::from_millis(rand::random_range(0..10 << resent.min(5)))).await;
        }
    }

    /// Sends a commit that follows exactly this snapshot; gives its version.
    async fn send(&self, change: &Change, strategy: Strategy, run_id: &str, mark: &str, moves: Option<&str>) -> Result<i64> {
        let mut actions: Vec<Action> = change.adds.iter().cloned().map(Action::Add).collect();
        let removals = self.removals(&change.removes)?;
        if removals.len() != change.removes.len() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("files of `{}` are gone: another writer committed first", self.name()),
            ));
        }
        actions.extend(removals);
        actions.extend(self.new_metadata(change)?);
        let properties = CommitProperties::default()
            .with_application_transactions(change.transactions.clone())
            .with_max_retries(0)
            .with_cleanup_expired_logs(self.log_cleanup())
            .with_metadata(
                [("lake.run_id", Some(run_id)), ("lake.commit", Some(mark)), ("lake.rows", moves)]
                    .into_iter()
                    .filter_map(|(key, value)| Some((key.to_string(), value?.into()))),
            );
        let state = self.delta().snapshot().map_err(|e| delta_error("cannot read the table", e))?;
        let done = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state.snapshot() as &dyn TableReference), self.delta().log_store(), operation(strategy))
            .await;
        match done {
            Ok(committed) => Ok(i64::try_from(committed.version()).unwrap_or_default()),
            Err(error) => Err(delta_error(&format!("cannot commit to `{}`", self.name()), error)),
        }
    }

    /// This table as it is now.
    async fn reloaded(&self) -> Result<Self> {
        let mut delta = self.delta().clone();
        delta.update_state().await.map_err(|e| delta_error(&format!("cannot open `{}`", self.name()), e))?;
        Self::new(self.name().clone(), delta)
    }

    /// Whether the next commit may clean up the log: it lists all of it, so only one that makes a checkpoint does; the table's properties
    /// decide then.
    pub(crate) fn log_cleanup(&self) -> Option<bool> {
        let interval = self.delta().snapshot().ok().map_or(CHECKPOINT_INTERVAL, |s| s.table_config().checkpoint_interval().get());
        let next = u64::try_from(self.version() + 1).unwrap_or_default();
        if (next + 1).is_multiple_of(interval) { None } else { Some(false) }
    }

    /// What the commit changes of the table's description: its columns, and what its readers must know.
    fn new_metadata(&self, change: &Change) -> Result<Vec<Action>> {
        let state = self.delta().snapshot().map_err(|e| delta_error("cannot read the table", e))?;
        let columns = change.schema.as_ref().map(|schema| self.metadata_with(schema)).transpose()?;
        let protocol = if change.deletion_vectors { with_deletion_vectors(state.protocol())? } else { None };
        let Some(protocol) = protocol else { return Ok(columns.into_iter().map(Action::Metadata).collect()) };
        let metadata = columns
            .unwrap_or_else(|| state.metadata().clone())
            .add_config_key("delta.enableDeletionVectors".into(), "true".into())
            .map_err(|e| delta_error(&format!("cannot commit to `{}`", self.name()), e.into()))?;
        Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)])
    }

    fn metadata_with(&self, change: &SchemaChange) -> Result<deltalake::kernel::Metadata> {
        let state = self.delta().snapshot().map_err(|e| delta_error("cannot read the table", e))?;
        let place = format!("cannot change the columns of `{}`", self.name());
        let metadata = state
            .metadata()
            .clone()
            .with_schema(&kernel_schema(&with_workspace(&change.schema))?)
            .map_err(|e| delta_error(&place, e.into()))?;
        match &change.stats_columns {
            None => Ok(metadata),
            Some(columns) if columns.is_empty() => Ok(metadata),
            Some(columns) => metadata
                .add_config_key("delta.dataSkippingStatsColumns".into(), columns.join(","))
                .map_err(|e| delta_error(&place, e.into())),
        }
    }
}

fn kernel_schema(schema: &Schema) -> Result<StructType> {
    schema.try_into_kernel().map_err(|e: arrow::error::ArrowError| {
        Error::new(ErrorKind::Internal, "a column's type has no Delta form").with_source(e)
    })
}

fn operation(strategy: Strategy) -> DeltaOperation {
    let partition_by = Some(vec![WORKSPACE_COLUMN.to_string()]);
    match strategy {
        Strategy::Append => DeltaOperation::Write { mode: SaveMode::Append, partition_by, predicate: None },
        Strategy::Replace => DeltaOperation::Write { mode: SaveMode::Overwrite, partition_by, predicate: None },
        Strategy::Merge | Strategy::MergeOnRead | Strategy::Refresh => DeltaOperation::Merge {
            predicate: None,
            merge_predicate: None,
            matched_predicates: vec![],
            not_matched_predicates: vec![],
            not_matched_by_source_predicates: vec![],
        },
    }
}

/// This crate's error for one of Delta's.
pub(crate) fn delta_error(what: &str, error: DeltaTableError) -> Error {
    let kind = match &error {
        DeltaTableError::VersionAlreadyExists(_)
        | DeltaTableError::Transaction { source: TransactionError::CommitConflict(_) | TransactionError::MaxCommitAttempts(_) } => {
            ErrorKind::Conflict
        }
        _ => ErrorKind::Storage,
    };
    if kind == ErrorKind::Conflict {
        return Error::new(kind, format!("{what}: another writer committed first")).with_source(error);
    }
    explain(what, error)
}

/// What readers and writers of a table must know when it has deletion vectors; `None` when `protocol` says so already.
fn with_deletion_vectors(protocol: &Protocol) -> Result<Option<Protocol>> {
    let feature = |f: &TableFeature| *f == TableFeature::DeletionVectors;
    if protocol.writer_features().is_some_and(|features| features.iter().any(feature)) {
        return Ok(None);
    }
    let unclear = |e: serde_json::Error| Error::new(ErrorKind::Internal, "cannot change a table's protocol").with_source(e);
    let mut written = serde_json::to_value(protocol).map_err(unclear)?;
    let list = |at: &str| written.get(at).and_then(Value::as_array).cloned();
    let version = |at: &str| written.get(at).and_then(Value::as_u64).unwrap_or_default();
    // Versions from before features were named stand for these.
    let implied = |upto: u64, named: &[(u64, &'static str)]| {
        named.iter().filter(|(since, _)| *since <= upto).map(|(_, feature)| Value::from(*feature)).collect::<Vec<_>>()
    };
    let mut readers = list("readerFeatures").unwrap_or_else(|| implied(version("minReaderVersion"), &[(2, "columnMapping")]));
    let mut writers = list("writerFeatures").unwrap_or_else(|| implied(version("minWriterVersion"), &LEGACY_FEATURES));
    readers.push("deletionVectors".into());
    writers.push("deletionVectors".into());
    written["minReaderVersion"] = 3.into();
    written["minWriterVersion"] = 7.into();
    written["readerFeatures"] = readers.into();
    written["writerFeatures"] = writers.into();
    serde_json::from_value(written).map(Some).map_err(unclear)
}

/// The writer's version that each feature came with.
const LEGACY_FEATURES: [(u64, &str); 7] = [
    (2, "appendOnly"),
    (2, "invariants"),
    (3, "checkConstraints"),
    (4, "changeDataFeed"),
    (4, "generatedColumns"),
    (5, "columnMapping"),
    (6, "identityColumns"),
];

/// The bytes of the files that a commit adds.
pub fn bytes_of(adds: &[Add]) -> u64 {
    adds.iter().map(|a| u64::try_from(a.size).unwrap_or_default()).sum()
}
