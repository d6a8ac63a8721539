//! The `lake` SDK: medallion pipelines over Delta tables, with every row in its workspace's partition.

pub mod diagnostic;
mod error;
pub mod lineage;
pub mod pipeline;
pub mod report;
mod workspace_id;

pub use error::{Error, ErrorKind, Result};
pub use workspace_id::{MAX_WORKSPACE_CHARS, UNASSIGNED, WORKSPACE_COLUMN, WorkspaceId};
