//! Keeping a table fast and small: compaction, and removal of files that nothing refers to.

use std::collections::HashSet;
use std::num::NonZeroU64;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use deltalake::operations::optimize::OptimizeType;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::checkpoints::{cleanup_metadata, create_checkpoint};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Serialize;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::pipeline::TableName;
use crate::table::checkpoint;
use crate::table::commit::{CHECKPOINT_INTERVAL, delta_error};
use crate::table::deletion_vector::is_deletion_vector;
use crate::table::history::At;
use crate::table::leftovers::{delete_leftovers, leftovers};
use crate::table::log::{self, Mentions};
use crate::table::snapshot::{Snapshot, folder};
use crate::workspace_id::WORKSPACE_COLUMN;

/// The shortest retention that cannot break a running reader or writer, in hours.
pub const SAFE_RETENTION_HOURS: i64 = 168;

/// An unfinished upload younger than this may be going on, whatever retention is asked for.
const LONGEST_UPLOAD: Duration = Duration::hours(24);

/// How often compaction starts anew when writers keep changing the files it read.
const ATTEMPTS: u32 = 3;

/// Memory that one task of a compaction uses: a row group being read and one being written.
const TASK_MEMORY: u64 = 256 << 20;

/// What `optimize` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptimizeReport {
    /// `layer.name`.
    pub table: String,
    /// Files that took the place of others.
    pub files_added: u64,
    /// Files that went.
    pub files_removed: u64,
    /// Version after.
    pub version: i64,
}

/// What `vacuum` may delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VacuumOptions {
    /// What versions of so many last hours need stays.
    pub retention_hours: i64,
    /// Allows less than [`SAFE_RETENTION_HOURS`].
    pub allow_short: bool,
    /// Nothing is deleted.
    pub dry_run: bool,
}

/// What `vacuum` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VacuumReport {
    /// `layer.name`.
    pub table: String,
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// Paths below the table's folder.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads to the store that nobody finished; unknown where the store does not tell.
    pub uploads: Option<u64>,
    /// Commits and checkpoints that are older than the log's retention; unknown on a dry run.
    pub log_files: Option<u64>,
}

impl Lake {
    /// Merges small files of each partition, or sorts the rows of each partition by the columns `z_order`. Rows and progress stay as they are,
    /// so what reads the table has nothing to do. `None` when there is no such table.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a column that the table does not have or is partitioned by; [`ErrorKind::Conflict`] when writers kept
    /// changing the same files.
    pub async fn optimize(&self, name: &TableName, z_order: &[String]) -> Result<Option<OptimizeReport>> {
        let mut attempt = 1;
        loop {
            let Some(table) = self.snapshot(name, At::Latest).await? else { return Ok(None) };
            match table.optimize(self.engine(), z_order).await {
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => attempt += 1,
                done => return done.map(Some),
            }
        }
    }

    /// Deletes files of `name` that no version within the retention refers to, what crashed runs left half-written included, and commits older
    /// than the log's own retention. `None` when there is no such table. Must not run while the table is being restored.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a retention below [`SAFE_RETENTION_HOURS`] without `allow_short`.
    pub async fn vacuum(&self, name: &TableName, options: &VacuumOptions) -> Result<Option<VacuumReport>> {
        options.check()?;
        let Some(table) = self.snapshot(name, At::Latest).await? else { return Ok(None) };
        let Unneeded { mut files, mut bytes } = table.unneeded(options).await?;
        if !options.dry_run {
            table.delete(&files).await?;
        }
        let retained_from = options.retained_from();
        if let Some(root) = self.root().local_path() {
            let left = leftovers(&root, &root.join(folder(name)), retained_from).await?;
            bytes += left.iter().map(|l| l.bytes).sum::<u64>();
            files.extend(left.iter().map(|l| l.path.clone()));
            if !options.dry_run {
                delete_leftovers(&left).await?;
            }
        }
        let begun_before = retained_from.min(Utc::now() - LONGEST_UPLOAD);
        let uploads = self.root().give_up_uploads(&folder(name), begun_before, options.dry_run).await?;
        if !options.dry_run {
            table.clean_moves().await?;
        }
        let log_files = if options.dry_run { None } else { Some(table.clean_log().await?) };
        Ok(Some(VacuumReport { table: name.to_string(), dry_run: options.dry_run, files, bytes, uploads, log_files }))
    }
}

impl VacuumOptions {
    fn check(&self) -> Result<()> {
        if self.retention_hours >= SAFE_RETENTION_HOURS || self.allow_short {
            return Ok(());
        }
        let message = format!("a retention of {} hours can break running readers and writers", self.retention_hours);
        Err(Error::new(ErrorKind::Config, message)
            .with_hint("keep at least 168 hours, or add `--allow-short-retention` when nothing else uses the table"))
    }

    fn retained_from(&self) -> DateTime<Utc> {
        Utc::now() - Duration::hours(self.retention_hours)
    }
}

/// Files that can go.
struct Unneeded {
    files: Vec<String>,
    bytes: u64,
}

impl Snapshot {
    async fn optimize(&self, engine: &Engine, z_order: &[String]) -> Result<OptimizeReport> {
        if let Some(column) = z_order.iter().find(|c| self.schema().field_with_name(c).is_err()) {
            return Err(Error::new(ErrorKind::Config, format!("`{}` has no column `{column}`", self.name())));
        }
        if z_order.iter().any(|c| c == WORKSPACE_COLUMN) {
            let message = format!("`{}` is parted by `{WORKSPACE_COLUMN}` already; sort it by other columns", self.name());
            return Err(Error::new(ErrorKind::Config, message));
        }
        let kind = if z_order.is_empty() { OptimizeType::Compact } else { OptimizeType::ZOrder(z_order.to_vec()) };
        let target = engine.budget().file();
        let state = engine.session().state();
        let threads = state.config().target_partitions();
        let tasks = engine.memory().map_or(threads, |m| usize::try_from(m / TASK_MEMORY).unwrap_or(threads).clamp(1, threads));
        let mut builder = self
            .delta()
            .clone()
            .optimize()
            .with_type(kind)
            .with_session_state(Arc::new(state))
            .with_writer_properties(writer_properties())
            .with_max_concurrent_tasks(tasks);
        if let Some(target) = NonZeroU64::new(target) {
            builder = builder.with_target_size(target);
        }
        let (delta, metrics) = builder.await.map_err(|e| delta_error(&format!("cannot optimize `{}`", self.name()), e))?;
        let after = Snapshot::new(self.name().clone(), delta)?;
        Ok(OptimizeReport {
            table: self.name().to_string(),
            files_added: metrics.num_files_added,
            files_removed: metrics.num_files_removed,
            version: after.version(),
        })
    }

    /// The files to delete that are there: the log goes on to name those that a former vacuum deleted.
    async fn unneeded(&self, options: &VacuumOptions) -> Result<Unneeded> {
        let named = self.named_by_delta(options).await?;
        let mut named: HashSet<Path> = named.iter().map(|f| Path::parse(f).unwrap_or_else(|_| Path::from(f.as_str()))).collect();
        if named.iter().filter_map(Path::filename).any(is_deletion_vector) {
            // Delta's own choice keeps those of files that are there now, and not those that earlier versions need.
            let earlier = self.earlier_deletion_vectors().await?;
            named.retain(|path| !earlier.contains(path));
        }
        if named.is_empty() {
            return Ok(Unneeded { files: vec![], bytes: 0 });
        }
        let store = self.delta().log_store().object_store(None);
        let mut found: Vec<(String, u64)> = store
            .list(None)
            .try_filter_map(|object| {
                let unneeded = named.contains(&object.location).then(|| (object.location.to_string(), object.size));
                async move { Ok(unneeded) }
            })
            .try_collect()
            .await
            .map_err(|e| checkpoint::store_error(e).context(format!("cannot list `{}`", self.name())))?;
        found.sort();
        let bytes = found.iter().map(|(_, size)| size).sum();
        Ok(Unneeded { files: found.into_iter().map(|(path, _)| path).collect(), bytes })
    }

    /// The lists of deleted rows that commits in the log speak of.
    async fn earlier_deletion_vectors(&self) -> Result<HashSet<Path>> {
        let log = self.delta().log_store();
        let mut needed = HashSet::new();
        for version in (0..=self.version()).rev() {
            let Some(commits) = log::commits(log.as_ref(), version - 1, version, Mentions::All).await? else { break };
            let files = commits.into_iter().flat_map(|commit| commit.removed.into_iter().chain(commit.added));
            needed.extend(files.filter_map(|file| file.deleted?.path().ok()));
        }
        Ok(needed)
    }

    async fn delete(&self, files: &[String]) -> Result<()> {
        let paths: Vec<_> = files.iter().map(|f| Ok(Path::parse(f).unwrap_or_else(|_| Path::from(f.as_str())))).collect();
        let store = self.delta().log_store().object_store(None);
        let mut deleted = store.delete_stream(futures::stream::iter(paths).boxed());
        while let Some(done) = deleted.next().await {
            match done {
                Err(object_store::Error::NotFound { .. }) => {}
                done => {
                    done.map_err(|e| checkpoint::store_error(e).context(format!("cannot vacuum `{}`", self.name())))?;
                }
            }
        }
        Ok(())
    }

    /// What Delta's own vacuum would delete.
    async fn named_by_delta(&self, options: &VacuumOptions) -> Result<Vec<String>> {
        let (_, metrics) = self
            .delta()
            .clone()
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(Duration::hours(options.retention_hours))
            .with_enforce_retention_duration(!options.allow_short)
            .with_dry_run(true)
            .await
            .map_err(|e| delta_error(&format!("cannot vacuum `{}`", self.name()), e))?;
        Ok(metrics.files_deleted)
    }

    /// Deletes what is older than the log's retention, up to a checkpoint; makes one first where commits failed to. Gives the number of files.
    async fn clean_log(&self) -> Result<u64> {
        let fail = |e| delta_error(&format!("cannot clean up the log of `{}`", self.name()), e);
        let log = self.delta().log_store();
        let newest = checkpoint::newest(&log.object_store(None), log.log_path(), self.version()).await?;
        let behind = self.version() - newest.map_or(-1, |c| c.version);
        if behind > i64::try_from(CHECKPOINT_INTERVAL).unwrap_or(i64::MAX) {
            create_checkpoint(self.delta(), None).await.map_err(fail)?;
        }
        cleanup_metadata(self.delta(), None).await.map(|files| files as u64).map_err(fail)
    }
}

/// Smaller row groups than those of a first writing, so that few bytes are held, and a denser compression: these files stay.
fn writer_properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(1 << 18))
        .set_created_by(format!("lake {}", env!("CARGO_PKG_VERSION")))
        .build()
}
