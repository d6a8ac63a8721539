//! Tables that this process has opened before: what it knows of one is looked at for commits since, and not read anew.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deltalake::DeltaTable;
use deltalake::table::state::DeltaTableState;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::error::Result;
use crate::lake::Lake;
use crate::pipeline::TableName;
use crate::storage::explain;
use crate::table::progress::Progress;
use crate::table::snapshot::folder;

/// The newest version of each table that was opened.
#[derive(Clone, Default)]
pub(crate) struct Opened(Arc<Mutex<HashMap<TableName, Known>>>);

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// A table at a version.
#[derive(Clone)]
pub(crate) struct Known {
    state: DeltaTableState,
    /// The version's commit as the store has it: one of another table in the same place is another object.
    commit: ObjectMeta,
    pub(crate) progress: Arc<OnceCell<Progress>>,
}

/// What has become of a table since.
pub(crate) enum Since {
    /// Nothing.
    Same,
    /// There are later commits.
    Later,
}

impl Opened {
    pub(crate) fn get(&self, name: &TableName) -> Option<Known> {
        self.tables().get(name).cloned()
    }

    /// Keeps what is known of a table that was just read; nothing of one whose newest commit is not there any more.
    pub(crate) async fn keep(&self, name: &TableName, table: &DeltaTable, progress: &Arc<OnceCell<Progress>>) {
        let (Some(state), Some(version)) = (table.state.clone(), table.version()) else { return };
        let (store, log) = log_of(table);
        if let Ok(commit) = store.head(&commit(&log, version)).await {
            self.tables().insert(name.clone(), Known { state, commit, progress: progress.clone() });
        }
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<TableName, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The table as it was, through the store of `table`, and what has become of it; `None` when that cannot be told.
    pub(crate) async fn since(&self, mut table: DeltaTable) -> Option<(DeltaTable, Since)> {
        let (store, log) = log_of(&table);
        table.state = Some(self.state.clone());
        let version = table.version()?;
        let (own, next) = (commit(&log, version), commit(&log, version + 1));
        let (own, next) = futures::join!(store.head(&own), store.head(&next));
        let own = own.ok()?;
        if (own.size, own.last_modified, &own.e_tag) != (self.commit.size, self.commit.last_modified, &self.commit.e_tag) {
            return None;
        }
        match next {
            Ok(_) => Some((table, Since::Later)),
            Err(object_store::Error::NotFound { .. }) => Some((table, Since::Same)),
            Err(_) => None,
        }
    }
}

fn log_of(table: &DeltaTable) -> (Arc<dyn ObjectStore>, Path) {
    let log = table.log_store();
    (log.object_store(None), log.log_path().clone())
}

fn commit(log: &Path, version: u64) -> Path {
    log.clone().join(format!("{version:020}.json"))
}

/// The newest commit of a table, as its store has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    /// The version.
    pub version: i64,
    size: u64,
    /// Nanoseconds since 1970 in UTC.
    modified: Option<i64>,
    e_tag: Option<String>,
}

impl Newest {
    /// Commit `version` of `name`, if it is the newest one.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] when the store cannot be asked.
    pub async fn at(lake: &Lake, name: &TableName, version: i64) -> Result<Option<Self>> {
        let store = lake.root().store()?;
        let log = Path::from(format!("{}/_delta_log", folder(name)));
        let number = u64::try_from(version).unwrap_or_default();
        let (own, next) = (commit(&log, number), commit(&log, number + 1));
        let (own, next) = futures::join!(store.head(&own), store.head(&next));
        match (own, next) {
            (Ok(own), Err(object_store::Error::NotFound { .. })) => {
                let modified = own.last_modified.timestamp_nanos_opt();
                Ok(Some(Self { version, size: own.size, modified, e_tag: own.e_tag }))
            }
            (Ok(_), Ok(_)) | (Err(object_store::Error::NotFound { .. }), _) => Ok(None),
            (Err(error), _) | (_, Err(error)) => Err(explain(&format!("cannot look at the log of `{name}`"), error)),
        }
    }
}
