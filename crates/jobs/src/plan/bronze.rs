//! What taking in source files is expected to cost.

use std::collections::BTreeSet;

use lake::Result;
use lake::engine::Engine;
use lake::forecast::{Action, Quantity, TablePlan};
use lake::pipeline::TableName;
use lake::table::{Scope, Snapshot};

use super::amount::{Amount, Volume, files_for, scaled};
use super::{Cost, table_plan};
use crate::ingest::source::SourceFile;

/// What is known before the job of a Bronze table reads.
pub(crate) struct Intended<'a> {
    pub(crate) name: &'a TableName,
    /// The table as it is; empty or `None` before its first run.
    pub(crate) table: Option<&'a Snapshot>,
    pub(crate) existed: bool,
    pub(crate) scope: &'a Scope,
    /// Bytes of the source files that are in the table as they are now.
    pub(crate) loaded: u64,
    /// Silver tables that take the rows while they are written.
    pub(crate) readers: usize,
    pub(crate) engine: &'a Engine,
}

impl Intended<'_> {
    /// Reading `files`: their number and bytes are exact, the rest is told by what earlier files came to.
    pub(crate) fn files<'f>(&self, files: impl IntoIterator<Item = &'f SourceFile>) -> Result<TablePlan> {
        let (count, bytes) = files.into_iter().fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.size));
        let stored = self.table.map_or(Ok(vec![]), |table| table.files(self.scope))?;
        let workspaces = match self.scope {
            Scope::Workspace(_) => Some(1),
            Scope::Feed => Some(stored.iter().filter_map(|f| f.workspace.as_ref()).collect::<BTreeSet<_>>().len() as u64),
        };
        let workspaces = workspaces.filter(|n| *n > 0);
        let write = match count {
            0 => Amount::NONE,
            _ => self.written(bytes, stored.iter().collect(), workspaces),
        };
        let read = Amount { rows: write.rows, ..Amount::from(Volume { files: count, bytes, rows: None }) };
        let action = match (self.existed, count) {
            (false, _) => Action::Build,
            (true, 0) => Action::None,
            (true, _) => Action::Append,
        };
        let reason = match count {
            0 => "no new or changed files".to_string(),
            1 => "one new or changed file".to_string(),
            n => format!("{n} new or changed files"),
        };
        // Which workspaces the rows are of, nobody knows before.
        let of = if *self.scope == Scope::Feed { None } else { workspaces };
        let memory = (action != Action::None).then(|| self.engine.budget().peak_of_intake(Some(bytes), of, self.readers));
        Ok(table_plan(self.name, action, reason, Cost { read, rewrite: Amount::NONE, write }, memory))
    }

    /// Taking in what a program will write, of which nothing is known.
    pub(crate) fn program(&self) -> TablePlan {
        let action = if self.existed { Action::Append } else { Action::Build };
        let reason = "a program brings the rows; what it writes is known when it ran".to_string();
        let memory = self.engine.budget().peak_of_intake(None, None, self.readers);
        let cost = Cost { read: Amount::UNKNOWN, rewrite: Amount::NONE, write: Amount::UNKNOWN };
        table_plan(self.name, action, reason, cost, Some(memory))
    }

    /// As many rows and bytes for each byte of a source as those that are there.
    fn written(&self, bytes: u64, stored: Volume, workspaces: Option<u64>) -> Amount {
        let rows = stored.rows.and_then(|rows| scaled(bytes, rows, self.loaded));
        let bytes = scaled(bytes, stored.bytes, self.loaded);
        let files = bytes.zip(workspaces).map(|(bytes, n)| files_for(bytes, n, self.engine.budget().file()));
        let about = |n: Option<u64>| n.map(Quantity::Estimate);
        Amount { files: about(files), bytes: about(bytes), rows: about(rows) }
    }
}
