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
use super::{Job, Seen, State};
use crate::plan::Volume;

/// So many workspaces are worth a query that keeps them apart; fewer get one each, of which the library makes better plans.
pub(crate) const MANY_WORKSPACES: usize = 8;

/// The most workspaces of one query: each brings files to list in the plan.
const MOST_WORKSPACES: usize = 1024;

/// The changed workspaces by the way in which they are brought up to date.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// By groups where that turns out to be possible and to pay: the rows of their inputs that came and went.
    pub(crate) by_rows: BTreeMap<String, BTreeMap<TableName, Moved>>,
    /// In full.
    pub(crate) whole: BTreeSet<String>,
    /// Why in full.
    reasons: Vec<String>,
}

impl Changed {
    /// Parted by what each workspace needs.
    pub(crate) fn parted(self, seen: &Seen) -> Work {
        let mut work = Work::default();
        for (workspace, cause) in self.0 {
            let reason = match cause {
                Cause::Whole(reason) => reason,
                Cause::Rows(moved) => match much_changed(seen, &workspace, &moved) {
                    Some(reason) => reason,
                    None => {
                        work.by_rows.insert(workspace, moved);
                        continue;
                    }
                },
            };
            work.reasons.push(reason);
            work.whole.insert(workspace);
        }
        work
    }
}

impl Work {
    /// The inputs of which single rows changed.
    pub(crate) fn inputs(&self) -> BTreeSet<TableName> {
        self.by_rows.values().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Why workspaces are computed in full, if some are.
    pub(crate) fn told(&self) -> Option<String> {
        told(&self.reasons)
    }
}

/// What became of the changed workspaces.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Files of the table whose rows are written anew or gone.
    pub(super) removes: HashSet<Path>,
    /// Rows that the query gave.
    pub(super) rows: u64,
    /// Files of the inputs that were read.
    pub(super) read: Volume,
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
        let told = told(&self.reasons).unwrap_or_default();
        let workspaces = self.refreshed + self.recomputed;
        match (self.refreshed, self.recomputed) {
            (0, 0) => None,
            (0, _) | (_, 0) => Some(told),
            (refreshed, _) => Some(format!("{refreshed} of {workspaces} workspaces by groups; {told}")),
        }
    }
}

/// Each of `reasons` once, three of them at most.
fn told(reasons: &[String]) -> Option<String> {
    let mut distinct: Vec<&str> = vec![];
    for reason in reasons {
        if !distinct.contains(&reason.as_str()) {
            distinct.push(reason);
        }
    }
    let more = if distinct.len() > 3 { "; and other reasons" } else { "" };
    let told = distinct.into_iter().take(3).collect::<Vec<_>>().join("; ");
    (!told.is_empty()).then(|| told + more)
}

impl Job<'_> {
    /// Writes the rows that the changed workspaces have now to `writer`.
    pub(super) async fn work(&self, state: &State, work: Work, writer: &mut TableWriter) -> Result<Outcome> {
        let Work { by_rows, whole, reasons } = work;
        let mut outcome = Outcome { reasons, ..Outcome::default() };
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
            Attempt::Done { removes, rows, queried, reason } => {
                let read =
                    if queried { state.seen.read(&unit.workspaces) } else { state.seen.changed_files(&unit.workspaces, moved) };
                outcome.read = outcome.read.plus(read);
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
        outcome.read = outcome.read.plus(state.seen.read(&unit.workspaces));
        outcome.removes.extend(state.seen.gold_files.of_workspaces(&unit.workspaces).map(|f| f.path.clone()));
        Ok(())
    }
}

/// Why following the change of a workspace's inputs does not pay, if it does not.
fn much_changed(seen: &Seen, workspace: &str, moved: &BTreeMap<TableName, Moved>) -> Option<String> {
    let own = BTreeSet::from([workspace.to_owned()]);
    let much = moved.iter().find(|(name, rows)| is_much(rows.bytes(), seen.input_files.get(*name).map_or(0, |f| f.bytes(&own))));
    much.map(|(name, _)| format!("much of `{name}` changed"))
}

/// The workspaces in parts that one query may serve.
fn parts(workspaces: BTreeSet<String>) -> Vec<BTreeSet<String>> {
    let all: Vec<String> = workspaces.into_iter().collect();
    all.chunks(MOST_WORKSPACES).map(|part| part.iter().cloned().collect()).collect()
}
