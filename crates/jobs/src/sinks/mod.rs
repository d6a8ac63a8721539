//! Sinks: keep collections and graphs in stores equal to the tables of vectors, nodes and edges.

mod compare;
mod graph;
mod settings;
mod vectors;

use std::collections::BTreeMap;

use lake::{Error, ErrorKind, Result, WorkspaceId};

pub(crate) use self::compare::{Difference, internal, texts};
pub(crate) use self::graph::GraphSink;
pub use self::settings::Sinks;
pub(crate) use self::vectors::VectorSink;

/// Points, nodes or edges that are sent at a time.
pub(crate) const SENT_AT_ONCE: usize = 1024;

/// Tries to bring a store up to date while other runs do the same.
pub(crate) const SYNCS: u32 = 10;

/// Other runs wrote to a store again and again.
pub(crate) fn overtaken(sink: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("other runs write to the store of `{sink}` all the time"))
        .with_hint("run again, with fewer runs at a time")
}

/// What a sink took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) upserted: u64,
    pub(crate) deleted: u64,
}

impl std::ops::AddAssign for Sent {
    fn add_assign(&mut self, other: Self) {
        self.upserted += other.upserted;
        self.deleted += other.deleted;
    }
}

/// Rows by their workspace, in the order they come.
pub(crate) fn by_workspace<T>(rows: impl IntoIterator<Item = (String, T)>) -> Result<Vec<(WorkspaceId, Vec<T>)>> {
    let mut all: BTreeMap<String, Vec<T>> = BTreeMap::new();
    for (workspace, row) in rows {
        all.entry(workspace).or_default().push(row);
    }
    all.into_iter().map(|(workspace, rows)| Ok((WorkspaceId::new(&workspace)?, rows))).collect()
}
