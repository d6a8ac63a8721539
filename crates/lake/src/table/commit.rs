//! One commit of one table: files in, files out, progress, and a schema change, all or nothing.

use std::collections::HashSet;

use arrow::datatypes::Schema;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference, TransactionError};
use deltalake::kernel::{Action, Add, MetadataExt, StructType, Transaction};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableError};
use object_store::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::TableName;
use crate::report::Strategy;
use crate::storage::Root;
use crate::table::history::At;
use crate::table::snapshot::{Snapshot, folder};
use crate::table::write::with_workspace;
use crate::workspace_id::WORKSPACE_COLUMN;

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
}

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
        let table = deltalake::DeltaTableBuilder::from_url(url)
            .and_then(|b| b.with_storage_options(root.options().clone()).build())
            .map_err(|e| delta_error(&format!("cannot create `{name}`"), e))?;
        let mut create = table
            .create()
            .with_columns(fields.fields().cloned())
            .with_partition_columns([WORKSPACE_COLUMN])
            .with_table_name(name.to_string())
            .with_save_mode(SaveMode::ErrorIfExists);
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
            Ok(delta) => Self::new(name.clone(), delta),
            // The other writer may have gone on to commit rows: what was read before is out of date.
            Err(error) => match Self::open(root, name, At::Latest).await? {
                Some(_) => {
                    Err(Error::new(ErrorKind::Conflict, format!("another writer created `{name}` first")).with_source(error))
                }
                None => Err(delta_error(&format!("cannot create `{name}`"), error)),
            },
        }
    }

    /// Commits `change` on exactly this snapshot. The log keeps `run_id` beside it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another commit came first: open the table again, check its progress, and decide anew.
    pub async fn commit(&self, change: Change, strategy: Strategy, run_id: &str) -> Result<Committed> {
        let mark = uuid::Uuid::now_v7().to_string();
        let mut actions: Vec<Action> = change.adds.into_iter().map(Action::Add).collect();
        actions.extend(self.removals(&change.removes)?);
        if let Some(schema) = change.schema {
            actions.push(Action::Metadata(self.metadata_with(&schema)?));
        }
        let properties = CommitProperties::default()
            .with_application_transactions(change.transactions)
            .with_max_retries(0)
            .with_metadata([("lake.run_id".to_string(), run_id.into()), ("lake.commit".to_string(), mark.as_str().into())]);
        let state = self.delta().snapshot().map_err(|e| delta_error("cannot read the table", e))?;
        let done = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state.snapshot() as &dyn TableReference), self.delta().log_store(), operation(strategy))
            .await;
        match done {
            Ok(committed) => Ok(Committed { version: i64::try_from(committed.version()).unwrap_or_default() }),
            Err(_) if self.next_commit_has(&mark).await => Ok(Committed { version: self.version() + 1 }),
            Err(error) => Err(delta_error(&format!("cannot commit to `{}`", self.name()), error)),
        }
    }

    /// Whether the commit that follows this snapshot is the one marked so: an error can hide a commit that was made, when the answer of the
    /// store was lost or the clean-up after it failed.
    async fn next_commit_has(&self, mark: &str) -> bool {
        let next = u64::try_from(self.version() + 1).unwrap_or_default();
        let entry = self.delta().log_store().read_commit_entry(next).await.ok().flatten();
        entry.is_some_and(|bytes| bytes.windows(mark.len()).any(|w| w == mark.as_bytes()))
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
        Strategy::Merge => DeltaOperation::Merge {
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
    let message = if kind == ErrorKind::Conflict {
        format!("{what}: another writer committed first")
    } else {
        format!("{what}: {}", root_cause(&error))
    };
    Error::new(kind, message).with_source(error)
}

/// The innermost message of an error chain, which names the file or the system's refusal.
fn root_cause(error: &DeltaTableError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The bytes of the files that a commit adds.
pub fn bytes_of(adds: &[Add]) -> u64 {
    adds.iter().map(|a| u64::try_from(a.size).unwrap_or_default()).sum()
}

/// For operations of Delta that hand back a table.
pub(crate) fn reopened(name: &TableName, delta: DeltaTable) -> Result<Snapshot> {
    Snapshot::new(name.clone(), delta)
}
