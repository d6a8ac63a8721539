//! Which Bronze files a Silver table has yet to absorb.

use std::collections::HashMap;

use lake::Result;
use lake::table::{DataFile, Progress, Scope};
use object_store::path::Path;

use crate::refine::Job;

/// The input of one attempt.
pub(super) struct Input {
    /// Files to read, in the order of their commits.
    pub(super) files: Vec<DataFile>,
    /// For each file, whether its quarantined rows are in the quarantine already.
    pub(super) quarantined_before: Vec<bool>,
    /// The version that is absorbed with this attempt.
    pub(super) version: i64,
    /// Whether the table's rows are made anew from all files.
    pub(super) rebuild: bool,
    /// Whether the watermark has to move though there is no file to read.
    must_commit: bool,
}

impl Input {
    pub(super) async fn find(job: &Job<'_>, quarantine: &Progress) -> Result<Input> {
        let names = job.input_names();
        let marks = job.progress.in_scope(&job.context.scope, &names);
        let first = marks.definition.is_none();
        let other = |definition: Option<i64>| definition.is_some_and(|d| d != job.table.fingerprint);
        let mut own = job.progress.own_workspaces().map(|w| job.progress.of(w, &names).definition);
        let outdated = other(marks.definition) || (job.context.scope == Scope::Feed && own.any(other));
        if !outdated
            && !job.context.full_refresh
            && let Some(files) = new_files(job, quarantine).await?
        {
            let (files, quarantined_before) = files.into_iter().unzip();
            return Ok(Input { files, quarantined_before, version: job.bronze.version(), rebuild: false, must_commit: first });
        }
        tracing::info!(table = %job.name(), "building the table from all of its input");
        let files = job.bronze.files(&job.context.scope)?;
        let quarantined_before = vec![false; files.len()];
        Ok(Input { files, quarantined_before, version: job.bronze.version(), rebuild: true, must_commit: true })
    }

    pub(super) fn is_up_to_date(&self) -> bool {
        self.files.is_empty() && !self.must_commit
    }
}

/// The files that came since the watermark of their workspace, each with whether the quarantine has its rows; `None` when history, a file or a row is gone
/// and all has to be read.
async fn new_files(job: &Job<'_>, quarantine: &Progress) -> Result<Option<Vec<(DataFile, bool)>>> {
    let names = job.input_names();
    let scope = &job.context.scope;
    let mark = |progress: &Progress, workspace: &str| {
        let marks = match scope {
            Scope::Feed => progress.of(workspace, &names),
            own => progress.in_scope(own, &names),
        };
        // A quarantine made by another definition holds other rows.
        let current = marks.definition == Some(job.table.fingerprint);
        if current { marks.inputs.values().copied().next().unwrap_or(-1) } else { -1 }
    };
    let oldest = match scope {
        Scope::Feed => job.progress.own_workspaces().map(|w| mark(&job.progress, w)).chain([feed_mark(job)]).min().unwrap_or(-1),
        Scope::Workspace(w) => mark(&job.progress, w.as_str()),
    };
    let Some(commits) = job.bronze.changes_since(oldest).await? else { return Ok(None) };
    let known: HashMap<Path, DataFile> = job.bronze.files(scope)?.into_iter().map(|f| (f.path.clone(), f)).collect();
    let mut found = vec![];
    for commit in commits {
        // Rows that went, as by a restore, are in the table's rows; only its whole input tells what it is without them.
        let is_ours =
            |workspace: Option<&str>| workspace.is_none_or(|w| scope.holds(Some(w)) && commit.version > mark(&job.progress, w));
        if commit.removed.iter().any(|file| is_ours(file.workspace.as_deref())) {
            return Ok(None);
        }
        for file in commit.added {
            let Some(workspace) = file.workspace.as_deref().filter(|w| scope.holds(Some(w))) else { continue };
            if commit.version <= mark(&job.progress, workspace) {
                continue;
            }
            // A file that was compacted away since is not in the snapshot: its rows are now in a file with older ones.
            let Some(data) = known.get(&file.path) else { return Ok(None) };
            found.push((data.clone(), commit.version <= mark(quarantine, workspace)));
        }
    }
    Ok(Some(found))
}

fn feed_mark(job: &Job<'_>) -> i64 {
    job.progress.feed(&job.input_names()).inputs.values().copied().next().unwrap_or(-1)
}
