//! A Delta table of the lake: its snapshot as a list of files, its log, writing and committing.

mod commit;
mod encode;
mod history;
mod log;
mod maintain;
mod progress;
mod scan;
mod snapshot;
mod statistics;
mod upload;
mod write;

pub use commit::{Change, Committed, SchemaChange, bytes_of};
pub use history::{At, HistoryEntry};
pub use log::{CommitFiles, LoggedFile};
pub use maintain::{OptimizeReport, SAFE_RETENTION_HOURS, VacuumReport};
pub use progress::{Progress, Scope, Watermarks, fingerprint};
pub use snapshot::{DataFile, Snapshot};
pub use write::{TableWriter, WriterOptions, conform, with_workspace, without_workspace};
