//! Brings the changed workspaces up to date: by groups where that is cheaper, else in full.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lake::Result;
use lake::pipeline::TableName;
use lake::report::Strategy;
use lake::table::TableWriter;
use object_store::path::Path;

use super::changed::{Cause, Changed, Moved};
use super::refresh::{Attempt, is_much};
use super::unit::Unit;
use super::{Job, State};

/// So many workspaces are worth a query that keeps them apart; fewer get one each, of which the library makes better plans.
const MANY_WORKSPACES: usize = 8;

/// The most workspaces of one query: each brings files to list in the plan.
const MOST_WORKSPACES: usize = 1024;

/// What became of the changed workspaces.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Files of the table whose rows are written anew or gone.
    pub(super) removes: HashSet<Path>,
    /// Rows that the query gave.
    pub(super) rows: u64,
    refreshed: usize,
    recomputed: usize,
    reasons: Vec<String>,
}

impl Outcome {
    pub(super) fn strategy(&self) -> Strategy {
        if self.refreshed > 0 && self.recomputed == 0 { Strategy::Refresh } else { Strategy::Replace }
    }

    /// For the run report.
    pub(super) fn reason(&self) -> Option<String> {
        let mut reasons: Vec<&str> = vec![];
        for reason in &self.reasons {
            if !reasons.contains(&reason.as_str()) {
                reasons.push(reason);
            }
        }
        let more = if reasons.len() > 3 { "; and other reasons" } else { "" };
        let told = reasons.into_iter().take(3).collect::<Vec<_>>().join("; ");
        let workspaces = self.refreshed + self.recomputed;
        match (self.refreshed, self.recomputed) {
            (0, 0) => None,
            (0, _) | (_, 0) => Some(format!("{told}{more}")),
            (refreshed, _) => Some(format!("{refreshed} of {workspaces} workspaces by groups; {told}{more}")),
        }
    }
}

impl Job<'_> {
    /// Writes the rows that the changed workspaces have now to `writer`.
    pub(super) async fn work(&self, state: &State, changed: Changed, writer: &mut TableWriter) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let (mut by_rows, mut whole) = (BTreeMap::new(), BTreeSet::new());
        for (workspace, cause) in changed.0 {
            match cause {
                Cause::Rows(moved) => match much_changed(state, &workspace, &moved) {
                    None => {
                        by_rows.insert(workspace, moved);
                    }
                    Some(reason) => {
                        outcome.reasons.push(reason);
                        whole.insert(workspace);
                    }
                },
                Cause::Whole(reason) => {
                    outcome.reasons.push(reason);
                    whole.insert(workspace);
                }
            }
        }
        for part in parts(by_rows.keys().cloned().collect()) {
            for unit in self.units(state, part).await? {
                self.refresh_or_recompute(state, unit, &by_rows, writer, &mut outcome).await?;
            }
        }
        for part in parts(whole) {
            for unit in self.units(state, part).await? {
                self.recompute(state, &unit, writer, &mut outcome).await?;
            }
        }
        Ok(outcome)
    }

    /// The queries that serve `workspaces`: one for all where they are many and it keeps them apart, else one for each.
    async fn units(&self, state: &State, workspaces: BTreeSet<String>) -> Result<Vec<Unit>> {
        if workspaces.len() >= MANY_WORKSPACES {
            match Unit::of_many(self, state, &workspaces).await? {
                Ok(unit) => return Ok(vec![unit]),
                Err(refusal) => {
                    tracing::info!(table = %self.table.name, reason = refusal.reason(), "one query for each workspace")
                }
            }
        }
        let mut units = vec![];
        for workspace in workspaces {
            units.push(Unit::of_one(self, state, &workspace).await?);
        }
        Ok(units)
    }

    async fn refresh_or_recompute(
        &self,
        state: &State,
        unit: Unit,
        moved: &BTreeMap<String, BTreeMap<TableName, Moved>>,
        writer: &mut TableWriter,
        outcome: &mut Outcome,
    ) -> Result<()> {
        match self.refresh(state, &unit, moved, writer).await? {
            Attempt::Done { removes, rows, reason } => {
                outcome.refreshed += unit.workspaces.len();
                outcome.removes.extend(removes);
                outcome.rows += rows;
                outcome.reasons.push(reason);
                Ok(())
            }
            Attempt::Recompute(reason) => {
                outcome.reasons.push(reason);
                self.recompute(state, &unit, writer, outcome).await
            }
        }
    }

    async fn recompute(&self, state: &State, unit: &Unit, writer: &mut TableWriter, outcome: &mut Outcome) -> Result<()> {
        outcome.rows += self.write(unit, None, writer).await?;
        writer.end_workspace().await?;
        outcome.recomputed += unit.workspaces.len();
        outcome.removes.extend(state.gold_files.of_workspaces(&unit.workspaces).map(|f| f.path.clone()));
        Ok(())
    }
}

/// Why following the change of a workspace's inputs does not pay, if it does not.
fn much_changed(state: &State, workspace: &str, moved: &BTreeMap<TableName, Moved>) -> Option<String> {
    let own = BTreeSet::from([workspace.to_owned()]);
    let much = moved.iter().find(|(name, rows)| is_much(rows.bytes(), state.input_files.get(*name).map_or(0, |f| f.bytes(&own))));
    much.map(|(name, _)| format!("much of `{name}` changed"))
}

/// The workspaces in parts that one query may serve.
fn parts(workspaces: BTreeSet<String>) -> Vec<BTreeSet<String>> {
    let all: Vec<String> = workspaces.into_iter().collect();
    all.chunks(MOST_WORKSPACES).map(|part| part.iter().cloned().collect()).collect()
}
