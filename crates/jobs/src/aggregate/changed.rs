//! Which workspaces' inputs changed since a gold table absorbed them, and by which rows.

use std::collections::{BTreeMap, BTreeSet};

use lake::Result;
use lake::pipeline::{CompiledGold, TableName};
use lake::table::{FileRows, Scope, Watermarks};

use super::{Files, Seen};

/// Why a workspace's result may be another than the one in the table.
#[derive(Debug)]
pub(crate) enum Cause {
    /// For a reason that says nothing of single rows.
    Whole(String),
    /// These rows of its inputs came and went.
    Rows(BTreeMap<TableName, Moved>),
}

/// Rows of one input.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(super) added: Vec<FileRows>,
    pub(super) removed: Vec<FileRows>,
}

impl Moved {
    /// About their bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.added.iter().chain(&self.removed).map(FileRows::bytes).sum()
    }
}

/// The workspaces whose result may be another, each with the cause.
#[derive(Debug, Default)]
pub(crate) struct Changed(pub(super) BTreeMap<String, Cause>);

impl Changed {
    fn whole(&mut self, workspaces: impl IntoIterator<Item = String>, reason: &str) {
        for workspace in workspaces {
            let cause = self.0.entry(workspace).or_insert_with(|| Cause::Whole(reason.to_owned()));
            if matches!(cause, Cause::Rows(_)) {
                *cause = Cause::Whole(reason.to_owned());
            }
        }
    }

    fn moved(&mut self, workspace: &str, input: &TableName) -> Option<&mut Moved> {
        match self.0.entry(workspace.to_owned()).or_insert_with(|| Cause::Rows(BTreeMap::new())) {
            Cause::Whole(_) => None,
            Cause::Rows(inputs) => Some(inputs.entry(input.clone()).or_default()),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the workspaces.
    pub(super) fn workspaces(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }
}

impl Seen {
    /// The workspaces in scope whose result may be another than the one in the table; all of them for a full refresh.
    pub(crate) async fn changed(&self, table: &CompiledGold, full_refresh: bool) -> Result<Changed> {
        let mut changed = Changed::default();
        if let Some(outdated) = self.outdated_definition(table, full_refresh) {
            let reason = match (full_refresh, self.existed) {
                (_, false) => "the table did not exist",
                (true, true) => "a full refresh was asked for",
                (false, true) => "it was not made by this definition yet",
            };
            changed.whole(outdated, reason);
        }
        for name in self.inputs.keys() {
            self.changed_input(name, &mut changed).await?;
        }
        Ok(changed)
    }

    async fn changed_input(&self, name: &TableName, changed: &mut Changed) -> Result<()> {
        let (scope, Some(input)) = (&self.scope, self.inputs.get(name)) else { return Ok(()) };
        let Some(files) = self.input_files.get(name) else { return Ok(()) };
        let mark = |workspace: &str| self.marks(workspace).inputs.get(&name.to_string()).copied();
        changed.whole(files.workspaces().filter(|w| mark(w).is_none()), &format!("`{name}` was not absorbed yet"));
        let Some(oldest) = self.oldest_mark(name) else { return Ok(()) };
        let Some(commits) = input.row_changes_since(oldest, scope).await? else {
            changed.whole(
                files.workspaces().chain(self.gold_files.workspaces()),
                &format!("part of the history of `{name}` is gone"),
            );
            return Ok(());
        };
        // Rows are not followed over a change of columns, wherever it is among the commits.
        let other_columns = commits.iter().filter(|c| c.columns_changed).map(|c| c.version).max();
        for commit in commits {
            let files = commit.added.into_iter().map(|f| (f, true)).chain(commit.removed.into_iter().map(|f| (f, false)));
            for (file, came) in files {
                let Some(workspace) = file.file.workspace.clone() else { continue };
                let mark = mark(&workspace).unwrap_or(i64::MIN);
                if commit.version <= mark {
                    continue;
                }
                if other_columns.is_some_and(|version| version > mark) {
                    changed.whole([workspace], &format!("the columns of `{name}` changed"));
                } else if let Some(moved) = changed.moved(&workspace, name) {
                    if came { moved.added.push(file) } else { moved.removed.push(file) }
                }
            }
        }
        Ok(())
    }

    fn marks(&self, workspace: &str) -> Watermarks {
        match &self.scope {
            Scope::Feed => self.progress.of(workspace, &self.names),
            scope => self.progress.in_scope(scope, &self.names),
        }
    }

    fn oldest_mark(&self, input: &TableName) -> Option<i64> {
        let name = input.to_string();
        let of_scope = self.progress.in_scope(&self.scope, &self.names).inputs.get(&name).copied();
        let own = self.progress.own_workspaces().filter_map(|w| self.progress.of(w, &self.names).inputs.get(&name).copied());
        match self.scope {
            Scope::Feed => own.chain(of_scope).min(),
            Scope::Workspace(_) => of_scope,
        }
    }

    /// All workspaces with rows, when the table was made by another definition or is to be rebuilt.
    fn outdated_definition(&self, table: &CompiledGold, full_refresh: bool) -> Option<Vec<String>> {
        let current = |w: &str| self.marks(w).definition == Some(table.fingerprint) && !full_refresh;
        let tables = self.input_files.values().chain([&self.gold_files]);
        let workspaces: BTreeSet<String> = tables.flat_map(Files::workspaces).collect();
        let outdated: Vec<_> = workspaces.into_iter().filter(|w| !current(w)).collect();
        (!outdated.is_empty()).then_some(outdated)
    }
}
