//! What a follower of a table has to do since a version: rows that are new to it, and rows that are no more.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::{Column, JoinType};
use datafusion::functions_aggregate::expr_fn::{max, min};
use datafusion::logical_expr::Expr;
use datafusion::prelude::{DataFrame, SessionContext, col, lit};

use crate::error::Result;
use crate::query_error::query_error;
use crate::table::progress::Scope;
use crate::table::snapshot::Snapshot;
use crate::workspace_id::WORKSPACE_COLUMN;

/// Commits that are followed one by one; behind more of them, all rows are compared.
const MOST_COMMITS: usize = 64;

/// The column with the version of the commit that a row came or went with.
const VERSION: &str = "__version";

/// The rows of a table that came and went since an earlier version.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Of each commit that changed rows, in order.
    commits: Vec<CommitRows>,
    /// About the bytes to read.
    pub bytes: u64,
}

#[derive(Debug, Clone)]
struct CommitRows {
    version: i64,
    came: Arc<dyn TableProvider>,
    went: Arc<dyn TableProvider>,
}

/// What a follower has to do.
#[derive(Debug, Clone)]
pub struct Steps {
    /// Rows that it does not have as they are.
    pub upserts: DataFrame,
    /// Rows as they were, whose keys are no more.
    pub deletes: DataFrame,
}

impl Snapshot {
    /// What changed in `scope` since the version `after`; `None` when that cannot be told any more, so that all rows have to be compared.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] when the log or the store cannot be read.
    pub async fn follow(&self, after: i64, scope: &Scope) -> Result<Option<Followed>> {
        let Some(changes) = self.row_changes_since(after, scope).await? else { return Ok(None) };
        let changes: Vec<_> =
            changes.into_iter().filter(|c| c.columns_changed || !c.added.is_empty() || !c.removed.is_empty()).collect();
        if changes.len() > MOST_COMMITS || changes.iter().any(|c| c.columns_changed) {
            return Ok(None);
        }
        let mut followed = Followed { commits: vec![], bytes: 0 };
        for change in changes {
            let Some(came) = self.scan_changed(&change.added, &[]).await? else { return Ok(None) };
            let Some(went) = self.scan_changed(&change.removed, &[]).await? else { return Ok(None) };
            followed.bytes += came.bytes + went.bytes;
            followed.commits.push(CommitRows { version: change.version, came: came.all, went: went.all });
        }
        Ok(Some(followed))
    }
}

impl Followed {
    /// Whether no row came or went.
    pub fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Compares rows by `key` and `hash` after `project` has made these columns, and kept `workspace_id`. A row whose key and hash are what they were
    /// is none of either.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Internal`] when the projection does not give the columns.
    pub fn steps(
        &self,
        session: &SessionContext,
        key: &[&str],
        hash: &str,
        project: impl Fn(DataFrame) -> Result<DataFrame>,
    ) -> Result<Steps> {
        let group: Vec<&str> = std::iter::once(WORKSPACE_COLUMN).chain(key.iter().copied()).collect();
        let all = |rows: fn(&CommitRows) -> &Arc<dyn TableProvider>| -> Result<DataFrame> {
            let mut union: Option<DataFrame> = None;
            for commit in &self.commits {
                let rows = session.read_table(rows(commit).clone()).map_err(failed).and_then(&project)?;
                let rows = rows.with_column(VERSION, lit(commit.version)).map_err(failed)?;
                union = Some(match union {
                    Some(union) => union.union(rows).map_err(failed)?,
                    None => rows,
                });
            }
            union.ok_or_else(|| crate::Error::new(crate::ErrorKind::Internal, "nothing to follow"))
        };
        let (came, went) = (all(|c| &c.came)?, all(|c| &c.went)?);
        if self.commits.len() == 1 {
            return steps(without_version(came)?, without_version(went)?, &group, hash);
        }
        // A row is as it came last, unless it went after that; it was as it went first, unless it came before that.
        let latest = outermost(came.clone(), &went, &group, true)?;
        let before = outermost(went, &came, &group, false)?;
        steps(latest, before, &group, hash)
    }
}

/// Of the rows of each group those of the greatest (or smallest) version, where `others` have no greater (or smaller) one.
fn outermost(rows: DataFrame, others: &DataFrame, group: &[&str], greatest: bool) -> Result<DataFrame> {
    let outer = |frame: DataFrame, name: &str| {
        let version = if greatest { max(unqualified(VERSION)) } else { min(unqualified(VERSION)) };
        let groups = group.iter().map(|c| unqualified(c).alias(format!("{name}{c}"))).collect();
        frame.aggregate(groups, vec![version.alias(format!("{name}{VERSION}"))]).map_err(failed)
    };
    let (own, other) = (outer(rows.clone(), "__own_")?, outer(others.clone(), "__rival_")?);
    let names = |name: &str| group.iter().map(|c| format!("{name}{c}")).collect::<Vec<_>>();
    let joined = |left: DataFrame, right: DataFrame, name: &str| {
        let right_names = names(name);
        let right_names: Vec<&str> = right_names.iter().map(String::as_str).collect();
        left.join(right, JoinType::Left, group, &right_names, None).map_err(failed)
    };
    let columns: Vec<Expr> =
        rows.schema().fields().iter().map(|f| f.name()).filter(|n| *n != VERSION).map(|n| unqualified(n)).collect();
    let (own_version, rival) = (unqualified(&format!("__own_{VERSION}")), unqualified(&format!("__rival_{VERSION}")));
    let wins = match greatest {
        true => rival.clone().lt_eq(unqualified(VERSION)),
        false => rival.clone().gt_eq(unqualified(VERSION)),
    };
    let all = joined(joined(rows, own, "__own_")?, other, "__rival_")?;
    all.filter(unqualified(VERSION).eq(own_version).and(rival.is_null().or(wins))).and_then(|f| f.select(columns)).map_err(failed)
}

fn without_version(rows: DataFrame) -> Result<DataFrame> {
    rows.drop_columns(&[VERSION]).map_err(failed)
}

fn unqualified(name: &str) -> Expr {
    col(Column::new_unqualified(name))
}

/// What a follower that has the rows `before` has to do to have `latest`; `group` are the workspace and the key.
///
/// # Errors
/// [`crate::ErrorKind::Internal`] when a column is missing.
pub fn steps(latest: DataFrame, before: DataFrame, group: &[&str], hash: &str) -> Result<Steps> {
    let whole: Vec<&str> = group.iter().copied().chain([hash]).collect();
    let known = renamed(before.clone(), &whole)?;
    let upserts = matching(latest.clone(), known, JoinType::LeftAnti, &whole)?;
    let there = renamed(latest, group)?;
    let deletes = matching(before, there, JoinType::LeftAnti, group)?;
    Ok(Steps { upserts, deletes })
}

fn matching(left: DataFrame, right: DataFrame, kind: JoinType, columns: &[&str]) -> Result<DataFrame> {
    let others: Vec<String> = columns.iter().map(|c| other(c)).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    left.join(right, kind, columns, &others, None).map_err(failed)
}

/// The columns under names that the other side of a join does not have.
fn renamed(frame: DataFrame, columns: &[&str]) -> Result<DataFrame> {
    let columns: Vec<Expr> = columns.iter().map(|c| unqualified(c).alias(other(c))).collect();
    frame.select(columns).map_err(failed)
}

fn other(column: &str) -> String {
    format!("__other_{column}")
}

fn failed(error: datafusion::common::DataFusionError) -> crate::Error {
    query_error("cannot follow a table", error)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::Lake;
    use crate::merge::{Candidates, MergeSpec, Sequence, merge_candidates};
    use crate::pipeline::{Layer, TableName};
    use crate::report::Strategy as How;
    use crate::table::{At, Change};

    type Rows = BTreeMap<(String, String), String>;

    /// What happens to a table and its follower.
    #[derive(Debug, Clone)]
    enum Act {
        /// Rows of (workspace, key, value); no value deletes.
        Merge(Vec<(bool, u8, Option<u8>)>),
        Optimize,
        Follow,
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let row = (any::<bool>(), 0u8..24, proptest::option::weighted(0.7, 0u8..3));
        let merge = proptest::collection::vec(row, 1..12).prop_map(Act::Merge);
        proptest::collection::vec(prop_oneof![6 => merge, 1 => Just(Act::Optimize), 3 => Just(Act::Follow)], 4..16)
    }

    fn spec(merge_on_read: bool) -> MergeSpec {
        let columns = Schema::new(["key", "value"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec());
        MergeSpec { columns: Arc::new(columns), key: vec!["key".into()], sequence: Sequence::Arrival, merge_on_read }
    }

    async fn merge(lake: &Lake, name: &TableName, spec: &MergeSpec, rows: &[(bool, u8, Option<u8>)]) {
        let table = lake.snapshot(name, At::Latest).await.unwrap().unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|(_, key, _)| Some(key.to_string())).collect::<StringArray>()),
            Arc::new(rows.iter().map(|(.., value)| value.map(|v| v.to_string())).collect::<StringArray>()),
            Arc::new(rows.iter().map(|(own, ..)| Some(if *own { "acme" } else { "globex" })).collect::<StringArray>()),
            Arc::new(rows.iter().map(|(.., value)| Some(value.is_none())).collect::<BooleanArray>()),
            Arc::new(UInt64Array::from_iter_values(0..rows.len() as u64)),
        ];
        let batch = RecordBatch::try_new(spec.candidates(), columns).unwrap();
        let mut candidates = Candidates::new(spec, lake.engine()).unwrap();
        candidates.push(&batch).unwrap();
        let done = merge_candidates(lake.engine(), spec, &table, None, candidates, &Scope::Feed, false).await.unwrap();
        let change = Change {
            adds: done.adds.into_iter().chain(done.marked).collect(),
            removes: done.removes,
            moves: done.moves,
            deletion_vectors: spec.merge_on_read,
            ..Default::default()
        };
        table.commit(change, done.strategy.unwrap_or(How::Append), "run").await.unwrap();
    }

    async fn rows(frame: DataFrame) -> Rows {
        let mut rows = Rows::new();
        for batch in frame.collect().await.unwrap() {
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            let (keys, values, owners) = (text("key"), text("value"), text(WORKSPACE_COLUMN));
            for row in 0..batch.num_rows() {
                assert!(keys.is_valid(row));
                let before = rows.insert((owners.value(row).into(), keys.value(row).into()), values.value(row).into());
                assert_eq!(before, None, "a row comes once");
            }
        }
        rows
    }

    async fn check(acts: Vec<Act>, merge_on_read: bool) {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::builder().uri(folder.path().to_str().unwrap()).threads(2).build().unwrap();
        let (name, spec) = (TableName::new(Layer::Silver, "t"), spec(merge_on_read));
        Snapshot::create(lake.root(), &name, &spec.columns, &[], None).await.unwrap();
        let (mut own, mut at) = (Rows::new(), 0);
        for act in acts.into_iter().chain([Act::Follow]) {
            match act {
                Act::Merge(rows) => merge(&lake, &name, &spec, &rows).await,
                Act::Optimize => drop(lake.optimize(&name, &[]).await.unwrap()),
                Act::Follow => {
                    let table = lake.snapshot(&name, At::Latest).await.unwrap().unwrap();
                    let session = lake.engine().scratch_session();
                    let whole = session.read_table(table.provider(&Scope::Feed).await.unwrap()).unwrap();
                    let now = rows(whole).await;
                    let Some(followed) = table.follow(at, &Scope::Feed).await.unwrap() else {
                        // The first commit with marks says so in the table's description.
                        assert!(merge_on_read && at == 0);
                        (own, at) = (now, table.version());
                        continue;
                    };
                    if followed.is_empty() {
                        assert_eq!(own, now);
                    } else {
                        let steps = followed.steps(&session, &["key"], "value", Ok).unwrap();
                        let (upserts, deletes) = (rows(steps.upserts).await, rows(steps.deletes).await);
                        let wanted: Rows =
                            now.iter().filter(|(k, v)| own.get(*k) != Some(*v)).map(|(k, v)| (k.clone(), v.clone())).collect();
                        assert_eq!(upserts, wanted, "only what is another comes");
                        let gone: Rows =
                            own.iter().filter(|(k, _)| !now.contains_key(*k)).map(|(k, v)| (k.clone(), v.clone())).collect();
                        assert_eq!(deletes, gone, "all that went goes");
                    }
                    (own, at) = (now, table.version());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]

        #[test]
        fn a_follower_is_told_exactly_what_is_another_than_before(acts in acts(), merge_on_read in any::<bool>()) {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
            runtime.block_on(check(acts, merge_on_read));
        }
    }
}
