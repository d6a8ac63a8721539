//! What refining is expected to cost.

use std::collections::BTreeSet;

use lake::Result;
use lake::engine::Engine;
use lake::forecast::{Action, Quantity, TablePlan};
use lake::pipeline::CompiledSilver;
use lake::table::{DataFile, Scope, Snapshot};

use super::amount::{Amount, Volume, files_for, scaled};
use super::{Cost, Upstream, table_plan};
use crate::refine::Input;

/// What is known before the job of a Silver table reads.
pub(crate) struct Refinement<'a> {
    pub(crate) table: &'a CompiledSilver,
    /// The table as it is; empty or `None` before its first run.
    pub(crate) silver: Option<&'a Snapshot>,
    pub(crate) existed: bool,
    pub(crate) scope: &'a Scope,
    pub(crate) engine: &'a Engine,
}

impl Refinement<'_> {
    /// Absorbing `input`, and what `upstream` brings before. What is read is exact without that. A merge rewrites at most the files of the
    /// workspaces that its input names, as keys are not known before.
    pub(crate) fn forecast(&self, input: &Input, upstream: Option<&Upstream<'_>>) -> Result<TablePlan> {
        if input.is_up_to_date() && upstream.is_none() {
            return Ok(self.nothing());
        }
        let known = Amount::from(input.files.iter().collect::<Volume>());
        let read = upstream.map_or(known, |more| known.plus(more.outlook.new).estimate());
        let files = self.silver.map_or(Ok(vec![]), |table| table.files(self.scope))?;
        let named: BTreeSet<&str> = input.files.iter().filter_map(|f| f.workspace.as_deref()).collect();
        let rewrite = match (input.rebuild, self.table.key.is_empty()) {
            (true, _) => Amount::from(files.iter().collect::<Volume>()),
            (false, true) => Amount::NONE,
            // Of which workspaces the rows to come are, nobody knows.
            (false, false) if upstream.is_some() => Amount::from(files.iter().collect::<Volume>()).at_most(),
            (false, false) => {
                let near = files.iter().filter(|f| f.workspace.as_deref().is_some_and(|w| named.contains(w)));
                Amount::from(near.collect::<Volume>()).at_most()
            }
        };
        let workspaces = self.workspaces(&named, upstream);
        let write = self.written(read, &files, workspaces);
        let here: u64 = input.files.iter().map(|f| f.size).sum();
        let bytes = upstream.map_or(Some(0), |more| more.outlook.bytes).map(|more| here + more);
        let memory = self.engine.budget().peak_of_merge(bytes, workspaces, self.engine.threads());
        let reason = self.reason(input, upstream);
        Ok(table_plan(&self.table.name, self.action(input), reason, Cost { read, rewrite, write }, Some(memory)))
    }

    /// About how many workspaces the rows are of: those of the files to read. Files to come are one for each, as a rule.
    fn workspaces(&self, named: &BTreeSet<&str>, upstream: Option<&Upstream<'_>>) -> Option<u64> {
        match (self.scope, upstream) {
            (Scope::Workspace(_), _) => Some(1),
            (Scope::Feed, None) => Some(named.len() as u64),
            (Scope::Feed, Some(more)) => more.outlook.new.files.map(|files| files.value().max(named.len() as u64)),
        }
    }

    fn nothing(&self) -> TablePlan {
        table_plan(&self.table.name, Action::None, "its input did not change".to_string(), Cost::default(), None)
    }

    fn action(&self, input: &Input) -> Action {
        match (self.existed, input.rebuild, self.table.key.is_empty()) {
            (false, ..) => Action::Build,
            (true, true, _) => Action::Replace,
            (true, false, true) => Action::Append,
            (true, false, false) => Action::Merge,
        }
    }

    fn reason(&self, input: &Input, upstream: Option<&Upstream<'_>>) -> String {
        let why = match upstream {
            _ if !self.existed => "the table does not exist yet".to_string(),
            Some(upstream) if !input.rebuild => format!("`{}` will change", upstream.name),
            _ => input.why.to_string(),
        };
        match self.action(input) {
            Action::Merge if self.table.merge_on_read => {
                format!("{why}; a file of which few rows change is kept and those are marked")
            }
            Action::Merge => format!("{why}; files with rows that change are written anew"),
            _ => why,
        }
    }

    /// At most the rows that are read, each as great as those of the table. Rows that only move come on top of the bytes.
    fn written(&self, read: Amount, files: &[DataFile], workspaces: Option<u64>) -> Amount {
        let stored: Volume = files.iter().collect();
        let rows = read.rows.map(Quantity::value);
        let bytes = match rows {
            Some(0) => Some(0),
            _ => rows.zip(stored.rows).and_then(|(rows, of)| scaled(rows, stored.bytes, of)),
        };
        let greatest = self.engine.budget().file();
        let files = bytes.zip(workspaces).map(|(bytes, n)| if bytes == 0 { 0 } else { files_for(bytes, n, greatest) });
        let about = |n: Option<u64>| n.map(Quantity::Estimate);
        Amount { files: about(files), bytes: about(bytes), rows: read.rows.map(Quantity::at_most) }
    }
}
