//! What bringing a vector table up to date is expected to cost.

use lake::Result;
use lake::forecast::{Action, Quantity, TablePlan};
use lake::pipeline::CompiledVectors;
use lake::table::{At, Scope, Snapshot};

use super::amount::{Amount, Volume};
use super::{Cost, Planner, Upstream, blocked, progress_of, table_plan};
use crate::vectors::generation;

impl Planner<'_> {
    /// How many rows have other texts than before is known when they are compared, so nothing here is exact but "nothing to do".
    pub(super) async fn vectors(&self, table: &CompiledVectors, target: Option<&Snapshot>) -> Result<TablePlan> {
        let (lake, scope) = (&self.project.lake, &self.project.scope);
        let Some(sinks) = &self.project.sinks else { return Ok(blocked(&table.name, &table.input)) };
        let upstream = self.upstream(std::slice::from_ref(&table.input)).pop();
        let source = lake.snapshot(&table.input, At::Latest).await?;
        if source.is_none() && upstream.is_none() {
            return Ok(blocked(&table.name, &table.input));
        }
        let input = table.input.to_string();
        let marks = progress_of(target).await?.in_scope(scope, std::slice::from_ref(&input));
        let current = marks.definition == Some(generation(table, sinks.embedder.as_ref()).await?);
        let since = marks.inputs.get(&input).copied();
        let version = source.as_ref().map(Snapshot::version);
        if target.is_some() && current && since == version && upstream.is_none() {
            return Ok(table_plan(&table.name, Action::None, "its input did not change".into(), Cost::default(), None));
        }
        let (action, reason) = match (target, current, &upstream) {
            (None, ..) => (Action::Build, "the table does not exist yet".to_owned()),
            (_, false, _) => (Action::Replace, "it was not made by this definition and embedder yet".to_owned()),
            (.., Some(more)) => (Action::Merge, format!("`{}` will change", more.name)),
            _ => (Action::Merge, format!("rows of `{input}` changed")),
        };
        let now: Volume = volume(source.as_ref(), scope)?;
        let read = match (action, &source, since) {
            (Action::Merge, Some(source), Some(since)) => match source.follow(since, scope).await? {
                Some(followed) => Amount { files: None, bytes: Some(Quantity::Estimate(followed.bytes)), rows: None },
                None => Amount::from(now).estimate(),
            },
            _ => Amount::from(now).estimate(),
        };
        let read = upstream.as_ref().map_or(read, |more: &Upstream<'_>| match action {
            Action::Merge => read.plus(more.outlook.new),
            _ => more.outlook.after,
        });
        let there: Volume = volume(target, scope)?;
        let rewrite = match action {
            Action::Build => Amount::NONE,
            _ => Amount::from(there).at_most(),
        };
        let write = Amount { files: None, bytes: None, rows: read.rows.map(Quantity::estimate) };
        Ok(table_plan(&table.name, action, reason, Cost { read: read.estimate(), rewrite, write }, None))
    }
}

fn volume(table: Option<&Snapshot>, scope: &Scope) -> Result<Volume> {
    Ok(table.map_or(Ok(vec![]), |table| table.files(scope))?.iter().collect())
}
