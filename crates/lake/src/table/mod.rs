//! A Delta table of the lake: its snapshot as a list of files, its log, writing and committing.

mod changes;
mod checkpoint;
mod commit;
mod deletion_vector;
mod encode;
mod footprint;
mod history;
mod leftovers;
mod log;
mod maintain;
mod moves;
mod noted;
mod opened;
mod progress;
mod rebase;
#[cfg(test)]
mod requests;
mod restore;
mod scan;
mod small;
mod snapshot;
mod statistics;
mod tuning;
mod turn;
mod upload;
mod waiting;
mod write;

pub use changes::{ChangedScan, FileRows, Positions, RowChanges};
pub use commit::{Change, Committed, SchemaChange, bytes_of};
pub use deletion_vector::DeletionVector;
pub use footprint::Footprint;
pub use history::{At, HistoryEntry};
pub use log::{CommitFiles, LoggedFile};
pub use maintain::{OptimizeReport, SAFE_RETENTION_HOURS, VacuumOptions, VacuumReport};
pub use moves::Moves;
pub use opened::Newest;
pub(crate) use opened::Opened;
pub use progress::{Progress, Scope, Watermarks, fingerprint};
pub use rebase::Basis;
pub use restore::RestoreReport;
pub(crate) use scan::{FILE_COLUMN, PLACE_COLUMN};
pub use snapshot::{DataFile, Snapshot};
pub use turn::Turns;
pub(crate) use turn::until_first;
pub use write::{TableWriter, WriterOptions, conform, with_workspace, without_workspace};
