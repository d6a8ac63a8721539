//! Whether a change that was computed on one version of a table still holds on a later one, so that it need only be sent again.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use deltalake::kernel::Transaction;
use deltalake::logstore::LogStore;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::table::commit::delta_error;
use crate::workspace_id::WORKSPACE_COLUMN;

/// The rows of a table that a change was computed from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Basis {
    /// Any of them: every other commit means to compute anew.
    #[default]
    Table,
    /// Those of these workspaces.
    Workspaces(BTreeSet<String>),
    /// None: rows are added whatever else there is.
    Nothing,
}

/// What another commit did, as far as it matters to a change that it overtook.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Overtaking {
    /// `lake.commit` of the commit.
    pub(crate) mark: Option<String>,
    transactions: BTreeSet<String>,
    /// Partitions with files that came or went; `None` for rows without a workspace.
    workspaces: BTreeSet<Option<String>>,
    new_columns: bool,
}

impl Overtaking {
    /// Whether a change with this basis and these transactions is the same after this commit as before it.
    pub(crate) fn leaves(&self, basis: &Basis, transactions: &[Transaction]) -> bool {
        let untouched = match basis {
            Basis::Table => return false,
            Basis::Nothing => true,
            Basis::Workspaces(own) => !self.workspaces.iter().flatten().any(|w| own.contains(w)),
        };
        let names: HashSet<&str> = transactions.iter().map(|t| t.app_id.as_str()).collect();
        untouched && !self.new_columns && !self.transactions.iter().any(|theirs| names.iter().any(|own| overlap(own, theirs)))
    }
}

/// Whether two records of progress speak of the same rows: a feed's record speaks of the rows of every workspace.
fn overlap(one: &str, other: &str) -> bool {
    match (one.split_once('@'), other.split_once('@')) {
        (Some(one), Some(other)) => one == other,
        (one_parts, other_parts) => one_parts.map_or(one, |p| p.0) == other_parts.map_or(other, |p| p.0),
    }
}

/// What the commits after `after`, up to and with `to`, did; `None` when one of them is gone.
pub(crate) async fn overtaking(log: &dyn LogStore, after: i64, to: i64) -> Result<Option<Vec<Overtaking>>> {
    let mut found = vec![];
    for version in after + 1..=to {
        let number = u64::try_from(version).unwrap_or_default();
        let entry = log.read_commit_entry(number).await.map_err(|e| delta_error("cannot read the table's log", e))?;
        let Some(bytes) = entry else { return Ok(None) };
        found.push(read(&bytes)?);
    }
    Ok(Some(found))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    add: Option<File>,
    remove: Option<File>,
    txn: Option<Txn>,
    meta_data: Option<serde::de::IgnoredAny>,
    protocol: Option<serde::de::IgnoredAny>,
    commit_info: Option<CommitInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    partition_values: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
}

#[derive(Deserialize)]
struct CommitInfo {
    #[serde(rename = "lake.commit")]
    mark: Option<String>,
}

fn read(bytes: &Bytes) -> Result<Overtaking> {
    let mut commit = Overtaking::default();
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.iter().all(u8::is_ascii_whitespace)) {
        let line: Line = serde_json::from_slice(line)
            .map_err(|e| Error::new(ErrorKind::Storage, "the table's log is not readable").with_source(e))?;
        for file in line.add.into_iter().chain(line.remove) {
            let values = file.partition_values.and_then(|mut v| v.remove(WORKSPACE_COLUMN));
            commit.workspaces.insert(values.flatten());
        }
        commit.transactions.extend(line.txn.map(|t| t.app_id));
        commit.new_columns |= line.meta_data.is_some() || line.protocol.is_some();
        commit.mark = commit.mark.or(line.commit_info.and_then(|i| i.mark));
    }
    Ok(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(lines: &[&str]) -> Overtaking {
        read(&Bytes::from(lines.join("\n"))).unwrap()
    }

    fn own(names: &[&str]) -> Vec<Transaction> {
        names.iter().map(|n| Transaction::new(n.to_string(), 1)).collect()
    }

    fn workspaces(names: &[&str]) -> Basis {
        Basis::Workspaces(names.iter().map(ToString::to_string).collect())
    }

    const ADD: &str =
        r#"{"add":{"path":"a","partitionValues":{"workspace_id":"acme"},"size":1,"modificationTime":0,"dataChange":true}}"#;

    #[test]
    fn rows_of_other_workspaces_change_nothing() {
        let other = commit(&[r#"{"commitInfo":{"lake.commit":"m"}}"#, ADD, r#"{"txn":{"appId":"file:a@acme","version":1}}"#]);
        assert_eq!(other.mark.as_deref(), Some("m"));
        assert!(other.leaves(&workspaces(&["globex"]), &own(&["file:a@globex"])));
        assert!(!other.leaves(&workspaces(&["globex", "acme"]), &own(&["file:a@globex"])));
        assert!(other.leaves(&Basis::Nothing, &own(&["file:b@acme"])));
        assert!(!other.leaves(&Basis::Table, &[]));
    }

    #[test]
    fn the_same_input_means_to_look_again() {
        let other = commit(&[r#"{"txn":{"appId":"file:a@acme","version":1}}"#]);
        assert!(!other.leaves(&Basis::Nothing, &own(&["file:a@acme"])));
        assert!(!other.leaves(&Basis::Nothing, &own(&["file:a"])));
        let feed = commit(&[r#"{"txn":{"appId":"file:a","version":1}}"#]);
        assert!(!feed.leaves(&Basis::Nothing, &own(&["file:a@acme"])));
        assert!(feed.leaves(&Basis::Nothing, &own(&["file:ab"])));
    }

    #[test]
    fn new_columns_mean_to_look_again() {
        assert!(!commit(&[r#"{"metaData":{"id":"x"}}"#]).leaves(&Basis::Nothing, &[]));
        assert!(!commit(&[r#"{"protocol":{"minReaderVersion":1}}"#]).leaves(&Basis::Nothing, &[]));
    }
}
