//! The `lake` SDK: medallion pipelines over Delta tables, with every row in its workspace's partition.

pub mod budget;
pub mod diagnostic;
mod distinct;
pub mod doctor;
pub mod embed;
pub mod engine;
mod error;
pub mod forecast;
pub mod graph;
pub mod incremental;
mod lake;
pub mod lineage;
pub mod merge;
pub mod pipeline;
mod pool;
mod query_error;
mod repartition;
pub mod report;
pub mod row_set;
mod source_options;
pub mod spool;
pub mod storage;
pub mod table;
pub mod vectors;
pub mod verdict;
mod workspace;
mod workspace_id;
mod workspace_write;
mod workspaces;

pub use error::{Error, ErrorKind, Result};
pub use lake::{Lake, LakeBuilder};
pub use query_error::query_error;
pub use workspace::{Workspace, WorkspaceTable};
pub use workspace_id::{MAX_WORKSPACE_CHARS, UNASSIGNED, WORKSPACE_COLUMN, WorkspaceId};
pub use workspace_write::{Once, Written};
pub use workspaces::PlannedQuery;
