//! What a job touches of the tables: noted where objects are read and written, and checked before anything is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use object_store::ObjectStore;
use object_store::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{Layer, TableName};
use crate::report::Partitions;
use crate::table::commit::Change;
use crate::table::noted::Noted;
use crate::table::progress::Scope;
use crate::table::snapshot::Snapshot;
use crate::workspace_id::{UNASSIGNED, WORKSPACE_COLUMN, WorkspaceId};

/// What a job may touch of the tables, and what it has touched. Cheap to clone: clones are the same footprint.
#[derive(Clone)]
pub struct Footprint(Arc<Inner>);

struct Inner {
    scope: Scope,
    batch: Mutex<Batch>,
    notes: Arc<Notes>,
    number: Number,
}

/// Of which workspaces the rows are that a feed's job works on.
#[derive(Default)]
enum Batch {
    /// Nobody has said so yet.
    #[default]
    Unknown,
    /// Of these, in all attempts.
    These(BTreeSet<String>),
    /// Of all.
    All,
}

/// The partitions that were touched; their folders below the lake's root, each with the workspace it belongs to.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    read: Mutex<BTreeMap<String, Place>>,
    written: Mutex<BTreeMap<String, Place>>,
}

/// What a folder of a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    table: String,
    /// `None` for a data file that is in no partition.
    workspace: Option<String>,
}

/// Whether something came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Touch {
    Read,
    Written,
}

impl fmt::Debug for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Footprint({})", self.0.number.0)
    }
}

impl Footprint {
    /// Of a job that may touch the partitions of `scope`. Nothing is touched yet.
    pub fn of(scope: Scope) -> Self {
        let (batch, notes) = (Mutex::default(), Arc::default());
        Self(Arc::new(Inner { scope, batch, notes, number: Number::lease() }))
    }

    /// Narrows a feed's job to the workspaces of its batch and of those of earlier attempts; `None` are all workspaces.
    pub fn name(&self, workspaces: Option<BTreeSet<String>>) {
        let mut batch = locked(&self.0.batch);
        *batch = match (std::mem::take(&mut *batch), workspaces) {
            (Batch::All, _) | (_, None) => Batch::All,
            (Batch::Unknown, Some(named)) => Batch::These(named),
            (Batch::These(before), Some(named)) => Batch::These(before.into_iter().chain(named).collect()),
        };
    }

    /// The partitions of which files were read.
    pub fn read(&self) -> Partitions {
        Partitions::of(locked(&self.0.notes.read).keys().cloned())
    }

    /// The partitions in which files were written.
    pub fn written(&self) -> Partitions {
        Partitions::of(locked(&self.0.notes.written).keys().cloned())
    }

    /// `store` with a note of what is read and written below `root`.
    pub(crate) fn note(&self, store: Arc<dyn ObjectStore>, root: Path) -> Arc<dyn ObjectStore> {
        Arc::new(Noted::new(store, root, self.0.notes.clone()))
    }

    /// Notes a file of `table` that is written without passing the store; `path` is below the table's folder.
    pub(crate) fn wrote(&self, table: &TableName, path: &Path) {
        self.0.notes.note(&format!("{}/{path}", super::snapshot::folder(table)), Touch::Written);
    }

    /// Notes a file of `table` as read whose rows another job of the run has handed over; `path` is below the table's folder.
    pub fn took_over(&self, table: &TableName, path: &Path) {
        self.0.notes.note(&format!("{}/{path}", super::snapshot::folder(table)), Touch::Read);
    }

    /// A number that no other footprint has at this time.
    pub(crate) fn number(&self) -> usize {
        self.0.number.0
    }

    /// Fails when anything was touched, or would be by `change` to `table`, that is not of the job's workspaces.
    fn check(&self, table: &Snapshot, change: &Change) -> Result<()> {
        let written = locked(&self.0.notes.written).clone();
        for (folder, place) in locked(&self.0.notes.read).iter().chain(&written) {
            self.allow(&place.table, place.workspace.as_deref(), folder)?;
        }
        let name = table.name().to_string();
        for add in &change.adds {
            // Before it is serialised, an action has the path as the store knows it.
            let folder = format!("{}/{}", super::snapshot::folder(table.name()), parent(&add.path));
            let workspace = add.partition_values.get(WORKSPACE_COLUMN).and_then(Option::as_deref);
            let found = written.get(&folder).and_then(|place| place.workspace.as_deref());
            // A file that stays while rows of it are marked as deleted was checked when it was written.
            let stays = add.deletion_vector.is_some() && change.removes.iter().any(|path| path.as_ref() == add.path);
            if !stays && (found.is_none() || found != workspace) {
                return Err(outside(&format!("a file of `{folder}` would be added as one of another workspace")));
            }
            self.allow(&name, workspace, &folder)?;
        }
        for file in table.files_at(&change.removes)? {
            self.allow(&name, file.workspace.as_deref(), &parent(file.path.as_ref()))?;
        }
        Ok(())
    }

    fn allow(&self, table: &str, workspace: Option<&str>, folder: &str) -> Result<()> {
        let batch = locked(&self.0.batch);
        let named = |workspace: &str| match &*batch {
            Batch::These(named) => named.contains(workspace),
            Batch::Unknown | Batch::All => true,
        };
        let fine = match (&self.0.scope, workspace) {
            (_, None) => false,
            // Rows that name no workspace are kept apart by the feed's runs.
            (Scope::Feed, Some(UNASSIGNED)) => is_quarantine(table),
            (Scope::Feed, Some(workspace)) => WorkspaceId::refusal(workspace).is_none() && named(workspace),
            (scope, workspace) => scope.holds(workspace),
        };
        if fine { Ok(()) } else { Err(outside(&format!("`{folder}` is not of a workspace that this job works for"))) }
    }
}

impl Snapshot {
    /// Fails when the job of this snapshot's footprint touched, or `change` would touch, what is not its own. Without a footprint
    /// nothing is checked.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`]: the way to the tables lets no such thing happen.
    pub(crate) fn check_footprint(&self, change: &Change) -> Result<()> {
        self.footprint().map_or(Ok(()), |footprint| footprint.check(self, change))
    }
}

impl Notes {
    /// Notes an object below the root, unless it holds no rows.
    pub(crate) fn note(&self, path: &str, touch: Touch) {
        let Some((folder, place)) = place(path) else { return };
        let noted = match touch {
            Touch::Read => &self.read,
            Touch::Written => &self.written,
        };
        let mut noted = locked(noted);
        if !noted.contains_key(folder) {
            noted.insert(folder.to_owned(), place);
        }
    }
}

/// The folder of a data file, given by its path below the root, and what it holds; `None` for logs, marks of deleted or moved rows,
/// which hold positions only, and what is no table.
fn place(path: &str) -> Option<(&str, Place)> {
    let (folder, file) = path.rsplit_once('/')?;
    let mut parts = folder.splitn(3, '/');
    let (layer, table, partition) = (parts.next()?, parts.next()?, parts.next());
    let is_layer = Layer::ALL.iter().any(|l| l.as_str() == layer);
    let is_log = |p: &str| p == "_delta_log" || p.starts_with("_delta_log/") || p == super::moves::FOLDER;
    if !is_layer || partition.is_some_and(is_log) {
        return None;
    }
    if partition.is_none() && super::deletion_vector::is_deletion_vector(file) {
        return None;
    }
    let workspace = partition.and_then(workspace_of);
    Some((folder, Place { table: format!("{layer}.{table}"), workspace }))
}

/// The workspace of a partition's folder. Folders are percent-encoded, by every engine in its own way, but decoded by all in one.
fn workspace_of(partition: &str) -> Option<String> {
    let encoded = partition.strip_prefix(WORKSPACE_COLUMN)?.strip_prefix('=').filter(|e| !e.contains('/'))?;
    let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

fn parent(path: &str) -> String {
    path.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default()
}

fn is_quarantine(table: &str) -> bool {
    table.parse::<TableName>().is_ok_and(|name| name.layer == Layer::Bronze && name.name.ends_with("_quarantine"))
}

fn outside(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("{what}; nothing was committed")).with_hint(
        "this is a bug, or another program laid the table's files out in its own way; `lake optimize` puts them in their places",
    )
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lowest number that is free, given back when it is dropped. What is registered by such numbers stays few.
struct Number(usize);

static TAKEN: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

impl Number {
    fn lease() -> Self {
        let mut taken = locked(&TAKEN);
        let free = (1..).find(|n| !taken.contains(n)).unwrap_or_default();
        taken.insert(free);
        Self(free)
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        locked(&TAKEN).remove(&self.0);
    }
}

#[cfg(test)]
mod tests;
