//! Keeping a table fast and small: compaction and removal of files that nothing refers to.

use chrono::Duration;
use deltalake::operations::optimize::OptimizeType;
use deltalake::operations::vacuum::VacuumMode;
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::table::commit::{delta_error, reopened};
use crate::table::snapshot::Snapshot;

/// The shortest retention that cannot break a running reader or writer, in hours.
pub const SAFE_RETENTION_HOURS: i64 = 168;

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

/// What `vacuum` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VacuumReport {
    /// `layer.name`.
    pub table: String,
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// Paths below the table's folder.
    pub files: Vec<String>,
}

impl Snapshot {
    /// Merges small files of each partition, or sorts them by `z_order` columns. Rows and progress stay as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when a writer changed the same files meanwhile.
    pub async fn optimize(&self, z_order: &[String]) -> Result<OptimizeReport> {
        if let Some(column) = z_order.iter().find(|c| self.schema().field_with_name(c).is_err()) {
            return Err(Error::new(ErrorKind::Config, format!("`{}` has no column `{column}`", self.name())));
        }
        let kind = if z_order.is_empty() { OptimizeType::Compact } else { OptimizeType::ZOrder(z_order.to_vec()) };
        let (delta, metrics) = self
            .delta()
            .clone()
            .optimize()
            .with_type(kind)
            .await
            .map_err(|e| delta_error(&format!("cannot optimize `{}`", self.name()), e))?;
        let after = reopened(self.name(), delta)?;
        Ok(OptimizeReport {
            table: self.name().to_string(),
            files_added: metrics.num_files_added,
            files_removed: metrics.num_files_removed,
            version: after.version(),
        })
    }

    /// Deletes files that no version within `retention_hours` refers to, those of crashed runs included.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a retention below [`SAFE_RETENTION_HOURS`] without `allow_short`.
    pub async fn vacuum(&self, retention_hours: i64, allow_short: bool, dry_run: bool) -> Result<VacuumReport> {
        if retention_hours < SAFE_RETENTION_HOURS && !allow_short {
            return Err(Error::new(
                ErrorKind::Config,
                format!("a retention of {retention_hours} hours can break running readers and writers"),
            )
            .with_hint("keep at least 168 hours, or add `--allow-short-retention` when nothing else uses the table"));
        }
        let (_, metrics) = self
            .delta()
            .clone()
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(Duration::hours(retention_hours))
            .with_enforce_retention_duration(!allow_short)
            .with_dry_run(dry_run)
            .await
            .map_err(|e| delta_error(&format!("cannot vacuum `{}`", self.name()), e))?;
        Ok(VacuumReport { table: self.name().to_string(), dry_run, files: metrics.files_deleted })
    }
}
