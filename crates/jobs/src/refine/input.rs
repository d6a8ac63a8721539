//! Which Bronze files a Silver table has yet to absorb.

use std::collections::HashMap;

use lake::Result;
use lake::pipeline::CompiledSilver;
use lake::table::{DataFile, Progress, Scope, Snapshot};
use object_store::path::Path;

/// What decides on the input of an attempt.
pub(crate) struct Sought<'a> {
    pub(crate) table: &'a CompiledSilver,
    pub(crate) bronze: &'a Snapshot,
    /// How far the table has come.
    pub(crate) progress: &'a Progress,
    pub(crate) scope: &'a Scope,
    pub(crate) full_refresh: bool,
}

/// The input of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// Files to read, in the order of their commits.
    pub(crate) files: Vec<DataFile>,
    /// For each file, whether its quarantined rows are in the quarantine already.
    pub(super) quarantined_before: Vec<bool>,
    /// The version that is absorbed with this attempt.
    pub(super) version: i64,
    /// Whether the table's rows are made anew from all files.
    pub(crate) rebuild: bool,
    /// Why there is something to do, if there is.
    pub(crate) why: &'static str,
    /// Whether the watermark has to move though there is no file to read.
    must_commit: bool,
}

impl Sought<'_> {
    fn input_names(&self) -> Vec<String> {
        vec![self.table.input.to_string()]
    }
}

impl Input {
    pub(crate) async fn find(job: &Sought<'_>, quarantine: &Progress) -> Result<Input> {
        let names = job.input_names();
        let marks = job.progress.in_scope(job.scope, &names);
        let first = marks.definition.is_none();
        let other = |definition: Option<i64>| definition.is_some_and(|d| d != job.table.fingerprint);
        let mut own = job.progress.own_workspaces().map(|w| job.progress.of(w, &names).definition);
        let outdated = other(marks.definition) || (*job.scope == Scope::Feed && own.any(other));
        if !outdated
            && !job.full_refresh
            && let Some(files) = new_files(job, quarantine).await?
        {
            let (files, quarantined_before) = files.into_iter().unzip();
            let why = "its input changed";
            return Ok(Input {
                files,
                quarantined_before,
                version: job.bronze.version(),
                rebuild: false,
                why,
                must_commit: first,
            });
        }
        let why = match (outdated, job.full_refresh) {
            (true, _) => "its definition changed",
            (false, true) => "a full refresh was asked for",
            (false, false) => "rows of its input went, or part of its history is gone",
        };
        let files = job.bronze.files(job.scope)?;
        let quarantined_before = vec![false; files.len()];
        Ok(Input { files, quarantined_before, version: job.bronze.version(), rebuild: true, why, must_commit: true })
    }

    pub(crate) fn is_up_to_date(&self) -> bool {
        self.files.is_empty() && !self.must_commit
    }
}

/// The files that came since the watermark of their workspace, each with whether the quarantine has its rows; `None` when history, a file or a row is gone
/// and all has to be read.
async fn new_files(job: &Sought<'_>, quarantine: &Progress) -> Result<Option<Vec<(DataFile, bool)>>> {
    let names = job.input_names();
    let scope = job.scope;
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
        Scope::Feed => job.progress.own_workspaces().map(|w| mark(job.progress, w)).chain([feed_mark(job)]).min().unwrap_or(-1),
        Scope::Workspace(w) => mark(job.progress, w.as_str()),
    };
    let Some(commits) = job.bronze.changes_since(oldest).await? else { return Ok(None) };
    let known: HashMap<Path, DataFile> = job.bronze.files(scope)?.into_iter().map(|f| (f.path.clone(), f)).collect();
    let mut found = vec![];
    for commit in commits {
        // Rows that went, as by a restore, are in the table's rows; only its whole input tells what it is without them.
        let is_ours =
            |workspace: Option<&str>| workspace.is_none_or(|w| scope.holds(Some(w)) && commit.version > mark(job.progress, w));
        if commit.removed.iter().any(|file| is_ours(file.workspace.as_deref())) {
            return Ok(None);
        }
        for file in commit.added {
            let Some(workspace) = file.workspace.as_deref().filter(|w| scope.holds(Some(w))) else { continue };
            if commit.version <= mark(job.progress, workspace) {
                continue;
            }
            // A file that was compacted away since is not in the snapshot: its rows are now in a file with older ones.
            let Some(data) = known.get(&file.path) else { return Ok(None) };
            found.push((data.clone(), commit.version <= mark(quarantine, workspace)));
        }
    }
    Ok(Some(found))
}

fn feed_mark(job: &Sought<'_>) -> i64 {
    job.progress.feed(&job.input_names()).inputs.values().copied().next().unwrap_or(-1)
}
