//! What is known of a gold table and its inputs before any of them is read.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use lake::pipeline::{CompiledGold, TableName};
use lake::table::{At, DataFile, Progress, Scope, Snapshot};
use lake::{Lake, Result};
use object_store::path::Path;

use super::changed::Moved;
use crate::plan::Volume;

/// The inputs, and the table's files and progress, as one attempt or a plan sees them.
pub(crate) struct Seen {
    pub(crate) inputs: Arc<BTreeMap<TableName, Snapshot>>,
    pub(crate) input_files: BTreeMap<TableName, Files>,
    pub(crate) gold_files: Files,
    pub(crate) existed: bool,
    pub(crate) progress: Progress,
    pub(crate) names: Vec<String>,
    pub(crate) scope: Scope,
}

/// The files in scope of one table by their workspaces: a table of very many is gone through once.
#[derive(Debug, Default)]
pub(crate) struct Files(pub(super) BTreeMap<String, Vec<DataFile>>);

impl Files {
    pub(super) fn of(table: &Snapshot, scope: &Scope) -> Result<Self> {
        let mut files: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
        for mut file in table.files(scope)? {
            if let Some(workspace) = file.workspace.clone() {
                // Of very many files these are most of what they take, and nobody here reads them.
                file.stats = None;
                files.entry(workspace).or_default().push(file);
            }
        }
        Ok(Self(files))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &DataFile> {
        self.0.values().flatten()
    }

    pub(super) fn workspaces(&self) -> impl Iterator<Item = String> + '_ {
        self.0.keys().cloned()
    }

    pub(super) fn bytes(&self, workspaces: &BTreeSet<String>) -> u64 {
        self.of_workspaces(workspaces).map(|f| f.size).sum()
    }

    pub(crate) fn of_workspaces<'f>(&'f self, workspaces: &'f BTreeSet<String>) -> impl Iterator<Item = &'f DataFile> {
        workspaces.iter().filter_map(|w| self.0.get(w)).flatten()
    }
}

impl Seen {
    /// The inputs that there are, and `gold` if there is one.
    pub(crate) async fn open(lake: &Lake, table: &CompiledGold, scope: &Scope, gold: Option<&Snapshot>) -> Result<Self> {
        let (progress, gold_files) = match gold {
            Some(gold) => (gold.progress().await?, Files::of(gold, scope)?),
            None => Default::default(),
        };
        // The inputs are opened after the progress was read, so that none is older than a watermark.
        let (mut inputs, mut input_files) = (BTreeMap::new(), BTreeMap::new());
        for name in &table.inputs {
            let Some(snapshot) = lake.snapshot(name, At::Latest).await? else { continue };
            input_files.insert(name.clone(), Files::of(&snapshot, scope)?);
            inputs.insert(name.clone(), snapshot);
        }
        let names = table.inputs.iter().map(ToString::to_string).collect();
        let (inputs, scope) = (Arc::new(inputs), scope.clone());
        Ok(Self { inputs, input_files, gold_files, existed: gold.is_some(), progress, names, scope })
    }

    /// Whether the table is made by the definition that it has.
    pub(crate) fn is_by(&self, table: &CompiledGold) -> bool {
        self.progress.in_scope(&self.scope, &self.names).definition == Some(table.fingerprint)
    }

    /// What a query for `workspaces` reads: all their files of all inputs.
    pub(crate) fn read(&self, workspaces: &BTreeSet<String>) -> Volume {
        self.input_files.values().flat_map(|files| files.of_workspaces(workspaces)).collect()
    }

    /// Those files of `workspaces` that hold rows which came, and are still there.
    pub(super) fn changed_files(
        &self,
        workspaces: &BTreeSet<String>,
        moved: &BTreeMap<String, BTreeMap<TableName, Moved>>,
    ) -> Volume {
        let mut all = Volume::default();
        for workspace in workspaces {
            for (name, rows) in moved.get(workspace).into_iter().flatten() {
                let came: HashSet<&Path> = rows.added.iter().map(|row| &row.file.path).collect();
                let files = self.input_files.get(name).and_then(|files| files.0.get(workspace));
                all = all.plus(files.into_iter().flatten().filter(|f| came.contains(&f.path)).collect());
            }
        }
        all
    }
}
