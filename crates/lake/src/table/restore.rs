//! Putting a table back to what it was at an earlier version: its rows, its columns and its progress, in one commit.

use std::collections::{HashMap, HashSet};

use deltalake::kernel::transaction::{CommitBuilder, CommitProperties, TableReference};
use deltalake::kernel::{Action, Add, Transaction};
use deltalake::protocol::DeltaOperation;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::pipeline::TableName;
use crate::table::commit::delta_error;
use crate::table::history::At;
use crate::table::log::{self, Mentions};
use crate::table::snapshot::Snapshot;
use crate::table::turn::until_first;

/// How many files are asked for at a time whether they are there.
const CONCURRENT_HEADS: usize = 16;

/// What a restore did, or would do, to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// `layer.name`.
    pub table: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// The version whose rows, columns and progress the table has now.
    pub restored: i64,
    /// The version before.
    pub version_from: i64,
    /// The version after; the one before when there was nothing to do.
    pub version_to: i64,
    /// Files that came back.
    pub files_restored: u64,
    /// Files that went.
    pub files_removed: u64,
    /// Records of progress that were set back: inputs that will be read again.
    pub progress_restored: u64,
}

impl Lake {
    /// Puts `name` back to what it was at `to`, and with it the quarantine and tombstones beside it. What was absorbed since is absorbed again
    /// by the next run, once, as the progress goes back in the same commit. The table's commits stay, so a restore can itself be undone.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the table or the version does not exist, or its files were deleted by `vacuum`: nothing is changed then.
    /// [`ErrorKind::Config`] for a table that goes with another.
    pub async fn restore(&self, name: &TableName, to: At, dry_run: bool) -> Result<Vec<RestoreReport>> {
        if let Some(main) = self.goes_with(name).await? {
            return Err(Error::new(ErrorKind::Config, format!("`{name}` goes with `{main}`, and is restored with it"))
                .with_hint(format!("restore `{main}`")));
        }
        let version = self.version_at(name, to).await?;
        until_first(|| self.try_restore(name, version, dry_run)).await
    }

    async fn try_restore(&self, name: &TableName, version: i64, dry_run: bool) -> Result<Vec<RestoreReport>> {
        let main = Restore::of(self.existing(name).await?, self.at(name, version).await?).await?;
        let undone = main.undone_runs().await?;
        let mut restores = vec![main];
        for beside in [name.quarantine(), name.tombstones()] {
            let Some(now) = self.snapshot(&beside, At::Latest).await? else { continue };
            if let Some(version) = before_runs(&now, &undone).await? {
                restores.push(Restore::of(now, self.at(&beside, version).await?).await?);
            }
        }
        for restore in &restores {
            restore.check_files().await?;
        }
        let run_id = uuid::Uuid::now_v7().to_string();
        let mut reports = vec![];
        // The table first: one beside it may know more than it does, but never less.
        for restore in restores {
            let version_to = if dry_run { restore.now.version() } else { restore.commit(&run_id).await? };
            reports.push(restore.report(version_to, dry_run));
        }
        Ok(reports)
    }

    /// The table that `name` is a quarantine or tombstones of.
    async fn goes_with(&self, name: &TableName) -> Result<Option<TableName>> {
        let ending = |e: &str| name.name.strip_suffix(e).map(|main| TableName::new(name.layer, main));
        for main in [ending("_quarantine"), ending("_tombstones")].into_iter().flatten() {
            if self.snapshot(&main, At::Latest).await?.is_some() {
                return Ok(Some(main));
            }
        }
        Ok(None)
    }

    async fn existing(&self, name: &TableName) -> Result<Snapshot> {
        let missing =
            || Error::new(ErrorKind::NotFound, format!("there is no table `{name}`")).with_hint("`lake status` lists the tables");
        self.snapshot(name, At::Latest).await?.ok_or_else(missing)
    }

    /// The version that `to` means now, so that it means the same however often the restore starts anew.
    async fn version_at(&self, name: &TableName, to: At) -> Result<i64> {
        let At::Time(time) = to else {
            let now = self.existing(name).await?;
            return Ok(if let At::Version(version) = to { version } else { now.version() });
        };
        let Some(then) = self.snapshot(name, to).await? else { return Ok(self.existing(name).await?.version()) };
        let log = then.delta().log_store();
        let commit = log.log_path().clone().join(format!("{:020}.json", then.version()));
        match log.object_store(None).head(&commit).await {
            Ok(object) if object.last_modified > time => {
                Err(Error::new(ErrorKind::NotFound, format!("the log of `{name}` does not reach back to {time}"))
                    .with_hint(format!("its oldest version is {}, of {}", then.version(), object.last_modified)))
            }
            _ => Ok(then.version()),
        }
    }

    async fn at(&self, name: &TableName, version: i64) -> Result<Snapshot> {
        match self.snapshot(name, At::Version(version)).await {
            Ok(Some(then)) => Ok(then),
            Ok(None) => Err(Error::new(ErrorKind::NotFound, format!("there is no table `{name}`"))),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let newest = self.existing(name).await?;
                let log = newest.delta().log_store();
                let oldest = log::oldest_version(log.object_store(None).as_ref(), log.log_path()).await?;
                Err(error.with_hint(format!("the log holds the versions {oldest} to {}", newest.version())))
            }
            Err(error) => Err(error),
        }
    }
}

/// One table on its way back.
struct Restore {
    now: Snapshot,
    then: Snapshot,
    adds: Vec<(Path, Add)>,
    removes: Vec<Action>,
    transactions: Vec<Transaction>,
}

impl Restore {
    async fn of(now: Snapshot, then: Snapshot) -> Result<Self> {
        let (present, past) = (actions(&now)?, actions(&then)?);
        let adds =
            past.iter().filter(|(key, _)| !present.contains_key(*key)).map(|((path, _), (add, _))| (path.clone(), add.clone()));
        let adds = adds.collect();
        let removes = present.iter().filter(|(key, _)| !past.contains_key(*key)).map(|(_, (_, remove))| remove.clone());
        let removes = removes.collect();
        let transactions = now.progress().await?.back_to(&then.progress().await?);
        Ok(Self { now, then, adds, removes, transactions })
    }

    fn metadata(&self) -> Result<Option<Action>> {
        let fail = |e| delta_error("cannot read the table", e);
        let (now, then) = (self.now.delta().snapshot().map_err(fail)?, self.then.delta().snapshot().map_err(fail)?);
        Ok((now.metadata() != then.metadata()).then(|| Action::Metadata(then.metadata().clone())))
    }

    /// The runs whose commits are undone.
    async fn undone_runs(&self) -> Result<HashSet<String>> {
        let log = self.now.delta().log_store();
        let commits = log::commits(log.as_ref(), self.then.version(), self.now.version(), Mentions::Rows).await?;
        Ok(commits.into_iter().flatten().filter_map(|c| c.run_id).collect())
    }

    /// Fails when files that have to come back are gone, and says how far back it goes.
    async fn check_files(&self) -> Result<()> {
        let store = self.now.delta().log_store().object_store(None);
        let there: Vec<bool> = futures::stream::iter(&self.adds)
            .map(|(path, _)| exists(store.as_ref(), path))
            .buffer_unordered(CONCURRENT_HEADS)
            .try_collect()
            .await?;
        let gone = there.iter().filter(|there| !**there).count();
        if gone == 0 {
            return Ok(());
        }
        let all = actions(&self.then)?.len();
        let oldest = self.oldest_whole(store.as_ref()).await?;
        let (name, version) = (self.now.name(), self.then.version());
        Err(Error::new(
            ErrorKind::NotFound,
            format!("{gone} of the {all} files of version {version} of `{name}` were deleted by `vacuum`"),
        )
        .with_hint(format!("the oldest version that can be restored is {oldest}")))
    }

    /// The oldest version after the one wanted all of whose files are there.
    async fn oldest_whole(&self, store: &dyn ObjectStore) -> Result<i64> {
        let there: HashSet<Path> = store.list(None).map_ok(|object| object.location).try_collect().await.map_err(store_error)?;
        let log = self.now.delta().log_store();
        let commits = log::commits(log.as_ref(), self.then.version(), self.now.version(), Mentions::All).await?;
        let mut gone: HashSet<Path> =
            actions(&self.then)?.into_keys().map(|(path, _)| path).filter(|path| !there.contains(path)).collect();
        for commit in commits.unwrap_or_default() {
            for file in &commit.removed {
                gone.remove(&file.path);
            }
            gone.extend(commit.added.into_iter().map(|file| file.path).filter(|path| !there.contains(path)));
            if gone.is_empty() {
                return Ok(commit.version);
            }
        }
        Ok(self.now.version())
    }

    /// Commits on exactly the snapshot that was compared; gives the version after.
    async fn commit(&self, run_id: &str) -> Result<i64> {
        let metadata = self.metadata()?;
        if self.adds.is_empty() && self.removes.is_empty() && self.transactions.is_empty() && metadata.is_none() {
            return Ok(self.now.version());
        }
        let adds = self.adds.iter().map(|(_, add)| Action::Add(add.clone()));
        let actions = adds.chain(self.removes.iter().cloned()).chain(metadata).collect();
        let properties = CommitProperties::default()
            .with_application_transactions(self.transactions.clone())
            .with_max_retries(0)
            .with_cleanup_expired_logs(self.now.log_cleanup())
            .with_metadata([("lake.run_id".to_string(), run_id.into())]);
        let operation = DeltaOperation::Restore { version: u64::try_from(self.then.version()).ok(), datetime: None };
        let state = self.now.delta().snapshot().map_err(|e| delta_error("cannot read the table", e))?;
        let done = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state.snapshot() as &dyn TableReference), self.now.delta().log_store(), operation)
            .await;
        match done {
            Ok(committed) => Ok(i64::try_from(committed.version()).unwrap_or_default()),
            // An error can hide a commit that was made.
            Err(_) if self.next_commit_is_of(run_id).await => Ok(self.now.version() + 1),
            Err(error) => Err(delta_error(&format!("cannot restore `{}`", self.now.name()), error)),
        }
    }

    async fn next_commit_is_of(&self, run_id: &str) -> bool {
        let (log, version) = (self.now.delta().log_store(), self.now.version());
        let next = log::commits(log.as_ref(), version, version + 1, Mentions::Rows).await.ok().flatten();
        next.is_some_and(|commits| commits.iter().any(|c| c.run_id.as_deref() == Some(run_id)))
    }

    fn report(&self, version_to: i64, dry_run: bool) -> RestoreReport {
        RestoreReport {
            table: self.now.name().to_string(),
            dry_run,
            restored: self.then.version(),
            version_from: self.now.version(),
            version_to,
            files_restored: self.adds.len() as u64,
            files_removed: self.removes.len() as u64,
            progress_restored: self.transactions.len() as u64,
        }
    }
}

/// A file, and which of its rows are marked as deleted.
type FileKey = (Path, Option<String>);

/// For each file of a snapshot what brings it in and what takes it out.
fn actions(table: &Snapshot) -> Result<HashMap<FileKey, (Add, Action)>> {
    let state = table.delta().snapshot().map_err(|e| delta_error("cannot read the table's files", e))?;
    let data = state.snapshot().try_log_data().map_err(|e| delta_error("cannot read the table's files", e))?;
    let keyed = data.iter().map(|view| {
        let deleted =
            view.deletion_vector_descriptor().map(|d| format!("{}{}{:?}", d.storage_type, d.path_or_inline_dv, d.offset));
        #[expect(deprecated, reason = "the log takes actions; there is no other way to make one of a file")]
        let add = view.add_action();
        ((view.object_store_path(), deleted), (add, Action::Remove(view.remove_action(true))))
    });
    Ok(keyed.collect())
}

/// The version of a table beside another before the first commit of `runs`, as far as no other run's commit would be undone with it: to be
/// ahead is harmless there, to be behind is not. `None` when none of `runs` changed it.
async fn before_runs(table: &Snapshot, runs: &HashSet<String>) -> Result<Option<i64>> {
    let log = table.delta().log_store();
    let mut first = None;
    for version in (0..=table.version()).rev() {
        let Some(commits) = log::commits(log.as_ref(), version - 1, version, Mentions::Rows).await? else { break };
        match commits.first().and_then(|c| c.run_id.as_ref()) {
            None => {}
            Some(run) if runs.contains(run) => first = Some(version),
            Some(_) => break,
        }
    }
    Ok(first.map(|version| version - 1))
}

async fn exists(store: &dyn ObjectStore, path: &Path) -> Result<bool> {
    match store.head(path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(store_error(error)),
    }
}

fn store_error(source: object_store::Error) -> Error {
    crate::storage::explain("cannot look for the table's files", source)
}
