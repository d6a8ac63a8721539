//! The `lake` SDK: medallion pipelines over Delta tables, with every row in its workspace's partition.

mod contained;
pub mod diagnostic;
pub mod doctor;
pub mod engine;
mod error;
mod lake;
pub mod lineage;
pub mod merge;
pub mod pipeline;
mod query_error;
pub mod report;
mod source_options;
pub mod storage;
pub mod table;
pub mod verdict;
mod workspace;
mod workspace_id;
mod workspace_write;

pub use contained::is_contained;
pub use error::{Error, ErrorKind, Result};
pub use lake::{Lake, LakeBuilder};
pub use query_error::query_error;
pub use workspace::{Workspace, WorkspaceTable};
pub use workspace_id::{MAX_WORKSPACE_CHARS, UNASSIGNED, WORKSPACE_COLUMN, WorkspaceId};
pub use workspace_write::{Once, Written};
