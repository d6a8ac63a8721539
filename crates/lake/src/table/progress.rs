//! How far a table has come, kept as application transactions in the commits that hold its rows.

use std::collections::BTreeMap;

use deltalake::kernel::Transaction;
use sha2::{Digest, Sha256};

use crate::table::rebase::Basis;
use crate::workspace_id::WorkspaceId;

/// The transaction under which a table keeps the fingerprint of its definition.
const SINK: &str = "sink:";

const DEFINITION: &str = "definition";

/// The number that takes a transaction back: a log forgets none, but the last number counts.
pub(crate) const TAKEN_BACK: i64 = i64::MIN;

/// What a run may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The rows of one workspace.
    Workspace(WorkspaceId),
    /// A feed that carries many workspaces: each row goes to, and stays in, its own. For jobs only; a query has a workspace.
    Feed,
}

impl Scope {
    /// The rows that a change to the rows in scope is computed from.
    pub fn basis(&self) -> Basis {
        match self {
            Scope::Workspace(own) => Basis::Workspaces([own.to_string()].into()),
            Scope::Feed => Basis::Table,
        }
    }

    /// Whether rows of the partition `workspace` are in scope. Rows that have no workspace are in nobody's.
    pub fn holds(&self, workspace: Option<&str>) -> bool {
        match (self, workspace) {
            (_, None | Some(crate::workspace_id::UNASSIGNED)) => false,
            (Scope::Feed, Some(_)) => true,
            (Scope::Workspace(own), Some(w)) => own.as_str() == w,
        }
    }
}

/// The versions that a table has absorbed of each input, and by which definition, for one workspace or for the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Fingerprint of the definition the rows were made by.
    pub definition: Option<i64>,
    /// Input name to the last version absorbed.
    pub inputs: BTreeMap<String, i64>,
}

/// All transactions of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress(BTreeMap<String, i64>);

impl Progress {
    /// From the transactions in the log; those that a restore took back are none.
    pub fn new(mut transactions: BTreeMap<String, i64>) -> Self {
        transactions.retain(|_, number| *number != TAKEN_BACK);
        Self(transactions)
    }

    /// The transactions that make this progress that of `then`.
    pub(crate) fn back_to(&self, then: &Progress) -> Vec<Transaction> {
        // What a store has taken it keeps, whatever becomes of the table.
        let own = |name: &&String| !name.starts_with(SINK);
        let again = then.0.iter().filter(|(name, number)| own(name) && self.0.get(*name) != Some(*number));
        let gone = self.0.keys().filter(own).filter(|name| !then.0.contains_key(*name));
        let again = again.map(|(name, number)| Transaction::new(name, *number));
        again.chain(gone.map(|name| Transaction::new(name, TAKEN_BACK))).collect()
    }

    /// The number committed under `name`.
    pub fn get(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What the feed's runs have absorbed.
    pub fn feed(&self, inputs: &[String]) -> Watermarks {
        self.watermarks(inputs, "")
    }

    /// What is absorbed for `workspace`: by its own runs where there were any since, else by the feed's.
    pub fn of(&self, workspace: &str, inputs: &[String]) -> Watermarks {
        let own = self.watermarks(inputs, &suffix(workspace));
        if own.definition.is_some() { own } else { self.feed(inputs) }
    }

    /// For a scope: the workspace's, or the feed's.
    pub fn in_scope(&self, scope: &Scope, inputs: &[String]) -> Watermarks {
        match scope {
            Scope::Feed => self.feed(inputs),
            Scope::Workspace(w) => self.of(w.as_str(), inputs),
        }
    }

    /// The workspaces that have had runs of their own.
    pub fn own_workspaces(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|k| k.strip_prefix("definition@"))
    }

    /// The transactions to commit when `scope` has absorbed `marks`. A feed's commit brings every workspace that had runs of its own
    /// level with it.
    pub fn advance(&self, scope: &Scope, marks: &Watermarks) -> Vec<Transaction> {
        match scope {
            Scope::Workspace(w) => transactions(marks, &suffix(w.as_str())),
            Scope::Feed => {
                let own = self.own_workspaces().flat_map(|w| transactions(marks, &suffix(w)));
                transactions(marks, "").into_iter().chain(own).collect()
            }
        }
    }

    fn watermarks(&self, inputs: &[String], suffix: &str) -> Watermarks {
        Watermarks {
            definition: self.get(&format!("{DEFINITION}{suffix}")),
            inputs: inputs.iter().filter_map(|i| Some((i.clone(), self.get(&format!("{i}{suffix}"))?))).collect(),
        }
    }
}

fn suffix(workspace: &str) -> String {
    format!("@{workspace}")
}

fn transactions(marks: &Watermarks, suffix: &str) -> Vec<Transaction> {
    let definition = marks.definition.map(|v| Transaction::new(format!("{DEFINITION}{suffix}"), v));
    let inputs = marks.inputs.iter().map(|(i, v)| Transaction::new(format!("{i}{suffix}"), *v));
    definition.into_iter().chain(inputs).collect()
}

/// A non-negative 63-bit hash of `parts`, the same on every machine.
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(first) & i64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(definition: i64, version: i64) -> Watermarks {
        Watermarks { definition: Some(definition), inputs: [("bronze.posts".to_string(), version)].into() }
    }

    fn apply(progress: &mut Progress, scope: &Scope, m: &Watermarks) {
        for t in progress.advance(scope, m) {
            progress.0.insert(t.app_id, t.version);
        }
    }

    #[test]
    fn a_workspace_follows_the_feed_until_it_has_runs_of_its_own_and_again_after_the_feed_ran() {
        let inputs = ["bronze.posts".to_string()];
        let acme = Scope::Workspace(WorkspaceId::new("acme").unwrap());
        let mut p = Progress::default();
        assert_eq!(p.in_scope(&acme, &inputs), Watermarks::default());
        apply(&mut p, &Scope::Feed, &marks(1, 3));
        assert_eq!(p.in_scope(&acme, &inputs), marks(1, 3));
        apply(&mut p, &acme, &marks(1, 5));
        assert_eq!(p.in_scope(&acme, &inputs), marks(1, 5));
        assert_eq!(p.feed(&inputs), marks(1, 3));
        assert_eq!(p.of("globex", &inputs), marks(1, 3));
        apply(&mut p, &Scope::Feed, &marks(2, 9));
        assert_eq!(p.in_scope(&acme, &inputs), marks(2, 9));
    }

    #[test]
    fn going_back_takes_back_what_came_since() {
        let progress = |pairs: &[(&str, i64)]| Progress::new(pairs.iter().map(|(n, v)| (n.to_string(), *v)).collect());
        let marked = progress(&[("definition", 5), ("sink:1", 3)]);
        assert!(progress(&[("definition", 5), ("sink:1", 9), ("sink:2", 9)]).back_to(&marked).is_empty());
        let then = progress(&[("definition", 5), ("bronze.posts", 3), ("definition@acme", 5)]);
        let now = progress(&[("definition", 5), ("bronze.posts", 9), ("file:a", 1)]);
        let mut log = now.0.clone();
        let back = now.back_to(&then);
        assert_eq!(back.len(), 3);
        log.extend(back.into_iter().map(|t| (t.app_id, t.version)));
        assert_eq!(Progress::new(log), then);
    }

    #[test]
    fn rows_without_a_workspace_are_in_nobodys_scope() {
        assert!(!Scope::Feed.holds(None));
        assert!(!Scope::Feed.holds(Some(crate::UNASSIGNED)));
        assert!(Scope::Feed.holds(Some("acme")));
    }

    #[test]
    fn fingerprints_are_stable_and_tell_parts_apart() {
        assert_eq!(fingerprint(["a", "bc"]), fingerprint(["a", "bc"]));
        assert_ne!(fingerprint(["a", "bc"]), fingerprint(["ab", "c"]));
        assert!(fingerprint(["x"]) >= 0);
    }
}
