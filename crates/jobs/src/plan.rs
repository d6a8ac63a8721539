//! What a run would do, before it does it.

use std::collections::BTreeSet;

use lake::Result;
use lake::incremental::forecast;
use lake::pipeline::{Layer, TableName};
use lake::table::{At, Scope, Snapshot};
use serde::{Deserialize, Serialize};

use crate::ingest::job::is_loaded_in;
use crate::prepare::{BronzeSource, Project};

/// What a run would do to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make it.
    Build,
    /// Add rows.
    Append,
    /// Bring changed keys in.
    Merge,
    /// Make rows anew.
    Replace,
    /// Make those rows anew that the change touches.
    Refresh,
    /// Nothing.
    None,
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// In the order of work.
    pub tables: Vec<TablePlan>,
}

/// What a run would do to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePlan {
    /// `layer.name`.
    pub table: String,
    /// What would be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// Files to read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows to read; `null` when nobody knows before they are read.
    pub rows: Option<u64>,
    /// Whether the numbers are exact; otherwise they are what is known now, and what runs before can change them.
    pub exact: bool,
}

impl PlanReport {
    /// Whether a run would write anything.
    pub fn has_changes(&self) -> bool {
        self.tables.iter().any(|t| t.action != Action::None)
    }
}

/// Works out what a run would do. Nothing is written, no program is run.
///
/// # Errors
/// A selection that names nothing; those of storage.
pub async fn plan(project: &Project, select: &[String]) -> Result<PlanReport> {
    let selected = if select.is_empty() { project.compiled.order.clone() } else { project.compiled.select(select)? };
    let mut changing = BTreeSet::new();
    let mut tables = vec![];
    for name in project.compiled.order.iter().filter(|t| selected.contains(t)) {
        let planned = Planner { project, name }.plan(&changing).await?;
        if planned.action != Action::None {
            changing.insert(name.clone());
        }
        tables.push(planned);
    }
    Ok(PlanReport { pipeline: project.pipeline().name.value.clone(), tables })
}

struct Planner<'a> {
    project: &'a Project,
    name: &'a TableName,
}

impl Planner<'_> {
    async fn plan(&self, changing: &BTreeSet<TableName>) -> Result<TablePlan> {
        let table = self.project.lake.snapshot(self.name, At::Latest).await?;
        if let Some(source) = self.project.bronze.get(self.name) {
            return self.bronze(source, table).await;
        }
        let inputs = self.project.compiled.inputs(self.name);
        let upstream = inputs.iter().find(|i| changing.contains(i));
        self.derived(table, &inputs, upstream).await
    }

    async fn bronze(&self, source: &BronzeSource, table: Option<Snapshot>) -> Result<TablePlan> {
        let action = if table.is_some() { Action::Append } else { Action::Build };
        let BronzeSource::Files(intake) = source else {
            return Ok(self.answer(action, "a program brings the rows; what it writes is known when it ran", 0, 0, None, false));
        };
        let progress = match &table {
            Some(table) => table.progress().await?,
            None => Default::default(),
        };
        let new: Vec<_> = intake.files.iter().filter(|f| !is_loaded_in(f, &progress, &self.project.scope)).collect();
        let bytes = new.iter().map(|f| f.size).sum();
        let reason = match new.len() {
            0 => "no new or changed files".to_string(),
            1 => "one new or changed file".to_string(),
            n => format!("{n} new or changed files"),
        };
        let action = if new.is_empty() && table.is_some() { Action::None } else { action };
        Ok(self.answer(action, &reason, new.len() as u64, bytes, (new.is_empty()).then_some(0), true))
    }

    async fn derived(&self, table: Option<Snapshot>, inputs: &[TableName], upstream: Option<&TableName>) -> Result<TablePlan> {
        let scope = &self.project.scope;
        let names: Vec<String> = inputs.iter().map(ToString::to_string).collect();
        let marks = match &table {
            Some(table) => table.progress().await?.in_scope(scope, &names),
            None => Default::default(),
        };
        let outdated = marks.definition.is_some() && marks.definition != self.fingerprint();
        let (mut files, mut bytes, mut rows, mut changed) = (0, 0, Some(0u64), BTreeSet::new());
        for input in inputs {
            let Some(snapshot) = self.project.lake.snapshot(input, At::Latest).await? else { continue };
            let since = marks.inputs.get(&input.to_string()).copied().filter(|_| !outdated);
            let touched = touched(&snapshot, since, scope, self.name.layer).await?;
            if !touched.is_empty() {
                changed.insert(input.clone());
            }
            let all = self.name.layer == Layer::Gold && !touched.is_empty();
            for file in snapshot.files(scope)?.into_iter().filter(|f| all || touched.contains(f.path.as_ref())) {
                files += 1;
                bytes += file.size;
                rows = rows.zip(file.rows).map(|(a, b)| a + b);
            }
        }
        let write = if self.name.layer == Layer::Gold { Action::Replace } else { Action::Merge };
        let refresh = self.refresh(&changed, marks.inputs.len() == inputs.len());
        Ok(match (table.is_none(), outdated, upstream, !changed.is_empty()) {
            (true, ..) => self.answer(Action::Build, "the table does not exist yet", files, bytes, rows, upstream.is_none()),
            (_, true, ..) => self.answer(Action::Replace, "its definition changed", files, bytes, rows, upstream.is_none()),
            (_, _, Some(input), _) => self.answer(write, &format!("`{input}` will change"), files, bytes, rows, false),
            (_, _, None, true) => match refresh {
                // How much of that pays is known when the change is read.
                Some(reason) => self.answer(Action::Refresh, &reason, files, bytes, rows, false),
                None => self.answer(write, "its input changed", files, bytes, rows, true),
            },
            (_, _, None, false) => self.answer(Action::None, "its input did not change", 0, 0, Some(0), true),
        })
    }

    /// Why the table could be refreshed by groups after a change to `inputs`; `None` when it cannot.
    fn refresh(&self, inputs: &BTreeSet<TableName>, absorbed: bool) -> Option<String> {
        let table = self.project.compiled.gold.get(self.name).filter(|_| absorbed && !inputs.is_empty())?;
        let columns = forecast(table, inputs).ok()?;
        Some(format!("its input changed; where that is little, only groups of {} are computed", columns.join(", ")))
    }

    fn fingerprint(&self) -> Option<i64> {
        let compiled = &self.project.compiled;
        let silver = compiled.silver.get(self.name).map(|t| t.fingerprint);
        silver.or_else(|| compiled.gold.get(self.name).map(|t| t.fingerprint))
    }

    fn answer(&self, action: Action, reason: &str, files: u64, bytes: u64, rows: Option<u64>, exact: bool) -> TablePlan {
        TablePlan { table: self.name.to_string(), action, reason: reason.to_string(), files, bytes, rows, exact }
    }
}

/// The paths of files in scope that came or went since `since`; all of them when that is unknown, or when a silver table has to be made anew
/// as its input lost rows.
async fn touched(input: &Snapshot, since: Option<i64>, scope: &Scope, reader: Layer) -> Result<BTreeSet<String>> {
    let all = || -> Result<BTreeSet<String>> { Ok(input.files(scope)?.into_iter().map(|f| f.path.to_string()).collect()) };
    let Some(since) = since else { return all() };
    let Some(commits) = input.changes_since(since).await? else { return all() };
    let lost = commits.iter().flat_map(|c| &c.removed).any(|f| f.workspace.as_deref().is_none_or(|w| scope.holds(Some(w))));
    if lost && reader == Layer::Silver {
        return all();
    }
    let files = commits.into_iter().flat_map(|c| c.added.into_iter().chain(c.removed));
    Ok(files.filter(|f| scope.holds(f.workspace.as_deref())).map(|f| f.path.to_string()).collect())
}
