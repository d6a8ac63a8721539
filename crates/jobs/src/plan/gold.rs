//! What bringing a Gold table up to date is expected to cost.

use std::collections::BTreeSet;

use lake::engine::Engine;
use lake::forecast::{Action, Quantity, TablePlan};
use lake::incremental::{Refusal, forecast};
use lake::pipeline::{CompiledGold, TableName};

use super::amount::{Amount, Volume};
use super::{Cost, Upstream, table_plan};
use crate::aggregate::{MANY_WORKSPACES, Seen, Work};

/// What is known before the job of a Gold table reads.
pub(crate) struct Aggregation<'a> {
    pub(crate) table: &'a CompiledGold,
    pub(crate) seen: &'a Seen,
    pub(crate) engine: &'a Engine,
}

impl Aggregation<'_> {
    /// Working on `work`. Workspaces that are computed in full read and rewrite all their files, exactly; by groups, at most those.
    pub(crate) fn forecast(&self, work: &Work) -> TablePlan {
        let (whole, rest) = (&work.whole, work.by_rows.keys().cloned().collect::<BTreeSet<_>>());
        let groups = (!rest.is_empty()).then(|| self.groups(&work.inputs()));
        // One query for many workspaces may have columns to go by that one for each has not.
        let in_full = matches!(groups, None | Some(Err(_))) && rest.len() < MANY_WORKSPACES;
        let certain = |amount: Amount| if in_full { amount } else { amount.at_most() };
        let read = Amount::from(self.seen.read(whole)).plus(certain(Amount::from(self.seen.read(&rest))));
        let stored = |workspaces| self.seen.gold_files.of_workspaces(workspaces).collect::<Volume>();
        let rewrite = Amount::from(stored(whole)).plus(certain(Amount::from(stored(&rest))));
        let write = if in_full { self.written(stored(whole).plus(stored(&rest)), read) } else { Amount::UNKNOWN };
        let (action, reason) = match (self.seen.existed, groups) {
            (false, _) => (Action::Build, "the table does not exist yet".to_string()),
            (true, Some(Ok(columns))) => (Action::Refresh, format!("its input changed; {}", where_little(&columns))),
            (true, Some(Err(refusal))) => (Action::Replace, format!("its input changed; {}", refusal.reason())),
            (true, None) => (Action::Replace, work.told().unwrap_or_else(|| "its definition changed".to_string())),
        };
        self.plan(action, reason, Cost { read, rewrite, write })
    }

    /// What is known while tables that it reads will change first: `inputs` says what each will come to, as far as it is told.
    pub(crate) fn after(&self, work: &Work, inputs: Amount, upstream: &[Upstream<'_>]) -> TablePlan {
        let now: Volume = self.seen.gold_files.all().collect();
        let written = if now.files > 0 { Amount::from(now).estimate() } else { Amount::UNKNOWN };
        let (action, reason) = match (self.seen.existed, work.whole.is_empty(), upstream.first()) {
            (true, true, Some(first)) => {
                let change = format!("`{}` will change", first.name);
                match self.groups(&upstream.iter().map(|u| u.name.clone()).collect()) {
                    Ok(columns) => (Action::Refresh, format!("{change}; {}", where_little(&columns))),
                    Err(refusal) => (Action::Replace, format!("{change}; {}", refusal.reason())),
                }
            }
            (false, ..) => (Action::Build, "the table does not exist yet".to_string()),
            (true, ..) => (Action::Replace, work.told().unwrap_or_default()),
        };
        let write = if action == Action::Refresh { Amount::UNKNOWN } else { written };
        self.plan(action, reason, Cost { read: inputs.estimate(), rewrite: Amount::from(now).at_most(), write })
    }

    pub(crate) fn nothing(&self) -> TablePlan {
        table_plan(&self.table.name, Action::None, "its input did not change".to_string(), Cost::default(), None)
    }

    fn plan(&self, action: Action, reason: String, cost: Cost) -> TablePlan {
        table_plan(&self.table.name, action, reason, cost, self.engine.budget().peak_of_queries())
    }

    /// The columns of the groups that would be computed again, or why that cannot be.
    fn groups(&self, changed: &BTreeSet<TableName>) -> Result<Vec<String>, Refusal> {
        forecast(self.table, changed)
    }

    /// About as much as it replaces; nothing comes of nothing, and of a first result nothing is known.
    fn written(&self, stored: Volume, read: Amount) -> Amount {
        match (stored.files, read.files) {
            (0, Some(Quantity::Exact(0))) => Amount::NONE,
            (0, _) => Amount::UNKNOWN,
            _ => Amount::from(stored).estimate(),
        }
    }
}

fn where_little(columns: &[String]) -> String {
    format!("where that is little, only groups of {} are computed", columns.join(", "))
}
