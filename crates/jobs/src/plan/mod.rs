//! What a run would do, before it does it: told from the logs of the tables and the listing of the sources, and by the code that decides in the run.

mod amount;
mod bronze;
mod gold;
mod silver;
mod vectors;

use std::collections::BTreeMap;

use lake::Result;
use lake::forecast::{Action, Quantity, TablePlan};
use lake::pipeline::{CompiledGold, CompiledSilver, Layer, TableName};
use lake::table::{At, Progress, Snapshot};
use serde::{Deserialize, Serialize};

use self::amount::Amount;
pub(crate) use self::amount::Volume;
pub(crate) use self::bronze::Intended;
pub(crate) use self::gold::Aggregation;
pub(crate) use self::silver::Refinement;
use crate::aggregate::Seen;
use crate::ingest::job::is_loaded_in;
use crate::prepare::{BronzeSource, Project};
use crate::refine::{Input, Sought};

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// In the order of work.
    pub tables: Vec<TablePlan>,
}

impl PlanReport {
    /// Whether a run would write anything.
    pub fn has_changes(&self) -> bool {
        self.tables.iter().any(|t| t.action != Action::None)
    }
}

/// Works out what a run would do. Nothing is written, no data file is read, no program is run. What a table reads that other tables of the plan
/// change before is estimated from what they are expected to bring.
///
/// # Errors
/// A selection that names nothing; those of storage.
pub async fn plan(project: &Project, select: &[String]) -> Result<PlanReport> {
    let selected = if select.is_empty() { project.compiled.order.clone() } else { project.compiled.select(select)? };
    let mut planner = Planner { project, selected: &selected, changing: BTreeMap::new() };
    let mut tables = vec![];
    for name in project.compiled.order.iter().filter(|t| selected.contains(t)) {
        tables.push(planner.plan(name).await?);
    }
    Ok(PlanReport { pipeline: project.pipeline().name.value.clone(), tables })
}

/// What a job moves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) read: Amount,
    pub(crate) rewrite: Amount,
    pub(crate) write: Amount,
}

impl Default for Cost {
    fn default() -> Self {
        Self { read: Amount::NONE, rewrite: Amount::NONE, write: Amount::NONE }
    }
}

fn table_plan(table: &TableName, action: Action, reason: String, cost: Cost, peak_memory_bytes: Option<Quantity>) -> TablePlan {
    let Cost { read, rewrite, write } = cost;
    TablePlan {
        table: table.to_string(),
        action,
        reason,
        files_read: read.files,
        bytes_read: read.bytes,
        input_rows: read.rows,
        files_rewritten: rewrite.files,
        bytes_rewritten: rewrite.bytes,
        rows_rewritten: rewrite.rows,
        files_written: write.files,
        bytes_written: write.bytes,
        rows_written: write.rows,
        peak_memory_bytes,
    }
}

/// What a table that changes is expected to come to, all of it estimates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outlook {
    /// What comes.
    pub(crate) new: Amount,
    /// What is there then.
    pub(crate) after: Amount,
    /// About the bytes that come; where nothing is known of that, those of the source.
    pub(crate) bytes: Option<u64>,
}

/// A table that changes before one that reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Upstream<'a> {
    pub(crate) name: &'a TableName,
    pub(crate) outlook: &'a Outlook,
}

impl Outlook {
    /// After `plan` is done to a table with `now` in scope.
    fn of(plan: &TablePlan, layer: Layer, now: Volume) -> Self {
        let new = Amount { files: plan.files_written, bytes: plan.bytes_written, rows: plan.rows_written }.estimate();
        let now_about = Amount::from(now).estimate();
        let after = match (layer, plan.action) {
            // Of a result that is computed again, nothing is known but what it was.
            (Layer::Gold | Layer::Graph, _) if now.files > 0 => now_about,
            (Layer::Gold | Layer::Graph, _) | (_, Action::Replace) => new,
            _ => now_about.plus(new),
        };
        let bytes = plan.bytes_written.or(plan.bytes_read).map(Quantity::value);
        Self { new, after, bytes }
    }
}

struct Planner<'a> {
    project: &'a Project,
    selected: &'a [TableName],
    changing: BTreeMap<TableName, Outlook>,
}

impl Planner<'_> {
    async fn plan(&mut self, name: &TableName) -> Result<TablePlan> {
        let table = self.project.lake.snapshot(name, At::Latest).await?;
        let compiled = &self.project.compiled;
        let planned = match (self.project.bronze.get(name), compiled.silver.get(name), compiled.by_query(name)) {
            (Some(source), ..) => self.bronze(name, source, table.as_ref()).await?,
            (_, Some(silver), _) => self.silver(silver, table.as_ref()).await?,
            (.., Some(gold)) => self.gold(gold, table.as_ref()).await?,
            _ => match compiled.vectors.get(name) {
                Some(vectors) => self.vectors(vectors, table.as_ref()).await?,
                None => table_plan(name, Action::None, "nothing builds it".to_string(), Cost::default(), None),
            },
        };
        if planned.action != Action::None {
            let files = table.map_or(Ok(vec![]), |table| table.files(&self.project.scope))?;
            self.changing.insert(name.clone(), Outlook::of(&planned, name.layer, files.iter().collect()));
        }
        Ok(planned)
    }

    async fn bronze(&self, name: &TableName, source: &BronzeSource, table: Option<&Snapshot>) -> Result<TablePlan> {
        let (scope, compiled) = (&self.project.scope, &self.project.compiled);
        let readers = compiled.silver.values().filter(|t| t.input == *name && self.selected.contains(&t.name)).count();
        let engine = self.project.lake.engine();
        let intended = Intended { name, table, existed: table.is_some(), scope, loaded: 0, readers, engine };
        let BronzeSource::Files(intake) = source else { return Ok(intended.program()) };
        let progress = progress_of(table).await?;
        let (done, new): (Vec<_>, Vec<_>) = intake.files.iter().partition(|f| is_loaded_in(f, &progress, scope));
        Intended { loaded: done.iter().map(|f| f.size).sum(), ..intended }.files(new)
    }

    async fn silver(&self, table: &CompiledSilver, silver: Option<&Snapshot>) -> Result<TablePlan> {
        let (lake, scope) = (&self.project.lake, &self.project.scope);
        let progress = progress_of(silver).await?;
        let upstream = self.upstream(std::slice::from_ref(&table.input)).pop();
        let input = match lake.snapshot(&table.input, At::Latest).await? {
            Some(bronze) => {
                let sought = Sought { table, bronze: &bronze, progress: &progress, scope, full_refresh: false };
                Input::find(&sought, &Progress::default()).await?
            }
            None if upstream.is_some() => Input::default(),
            None => return Ok(blocked(&table.name, &table.input)),
        };
        let refinement = Refinement { table, silver, existed: silver.is_some(), scope, engine: lake.engine() };
        refinement.forecast(&input, upstream.as_ref())
    }

    async fn gold(&self, table: &CompiledGold, gold: Option<&Snapshot>) -> Result<TablePlan> {
        let (lake, scope) = (&self.project.lake, &self.project.scope);
        let seen = Seen::open(lake, table, scope, gold).await?;
        let upstream = self.upstream(&table.inputs);
        let (mut inputs, aggregation) = (Amount::NONE, Aggregation { table, seen: &seen, engine: lake.engine() });
        for name in &table.inputs {
            let now = seen.input_files.get(name).map(|files| Amount::from(files.all().collect::<Volume>()));
            match self.changing.get(name).map(|outlook| outlook.after).or(now) {
                Some(amount) => inputs = inputs.plus(amount),
                None => return Ok(blocked(&table.name, name)),
            }
        }
        let changed = seen.changed(table, false).await?;
        if changed.is_empty() && upstream.is_empty() && seen.is_by(table) {
            return Ok(aggregation.nothing());
        }
        let work = changed.parted(&seen);
        Ok(if upstream.is_empty() { aggregation.forecast(&work) } else { aggregation.after(&work, inputs, &upstream) })
    }

    /// Those of `inputs` that change before.
    fn upstream<'n>(&'n self, inputs: &'n [TableName]) -> Vec<Upstream<'n>> {
        inputs.iter().filter_map(|name| Some(Upstream { name, outlook: self.changing.get(name)? })).collect()
    }
}

async fn progress_of(table: Option<&Snapshot>) -> Result<Progress> {
    match table {
        Some(table) => table.progress().await,
        None => Ok(Progress::default()),
    }
}

/// A table whose input neither is there nor comes.
fn blocked(name: &TableName, input: &TableName) -> TablePlan {
    let cost = Cost { read: Amount::UNKNOWN, rewrite: Amount::UNKNOWN, write: Amount::UNKNOWN };
    table_plan(name, Action::Build, format!("`{input}`, which it reads, does not exist yet"), cost, None)
}

#[cfg(test)]
mod tests;
