//! Computes again only the groups of a result that a change touches.

use std::collections::{BTreeMap, HashSet};

use arrow::array::AsArray;
use arrow::datatypes::{SchemaRef, UInt32Type};
use datafusion::common::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::TryStreamExt;
use lake::incremental::{ChangedRows, Collected, Groups, Skipping, Witness};
use lake::pipeline::TableName;
use lake::table::{DataFile, Snapshot, TableWriter, conform};
use lake::{Error, Result, WORKSPACE_COLUMN, query_error};
use object_store::path::Path;

use super::changed::Moved;
use super::unit::Unit;
use super::{Job, State};

/// An input of which more than one part in this many changed is read anew: following the change reads those rows once more.
const LARGE_CHANGE: u64 = 5;

/// A result of which more than one group in this many changed is computed anew: the query then does most of the work, and keeping the others
/// costs the rest.
const MANY_GROUPS: u64 = 2;

/// Whether so many bytes of changed rows, of `all` bytes of the input, are better read with all the others.
pub(super) fn is_much(changed: u64, all: u64) -> bool {
    changed.saturating_mul(LARGE_CHANGE) > all
}

/// Files of so many bytes take longer to read than to look at the statistics of.
const GREAT_FILE: u64 = 1 << 20;

/// What pays for files that are as great as these on average.
fn skipping<'f>(files: impl IntoIterator<Item = &'f DataFile>) -> Skipping {
    let (bytes, count) = files.into_iter().fold((0, 0), |(bytes, count), file| (bytes + file.size, count + 1));
    if bytes >= GREAT_FILE * count { Skipping::ByStatistics } else { Skipping::Nothing }
}

/// How a refresh ended.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The groups are written. The query ran, unless there were none.
    Done { removes: HashSet<Path>, rows: u64, queried: bool, reason: String },
    /// Nothing is written: computing all is right or cheaper, for this reason.
    Recompute(String),
}

impl Attempt {
    fn recompute(reason: impl Into<String>) -> Result<Self> {
        Ok(Self::Recompute(reason.into()))
    }
}

/// The changed rows of each input.
#[derive(Debug, Default)]
struct ChangedInputs {
    all: BTreeMap<TableName, ChangedRows>,
    /// Those that came, of inputs with many of which others went.
    came: BTreeMap<TableName, ChangedRows>,
}

/// What changed for a unit, or why that cannot be told or does not pay.
type Known<T> = std::result::Result<T, String>;

impl Job<'_> {
    /// Refreshes the result of `unit` by groups, if that is possible and pays; `moved` are the rows that came and went, by workspace.
    pub(super) async fn refresh(
        &self,
        state: &State,
        unit: &Unit,
        moved: &BTreeMap<String, BTreeMap<TableName, Moved>>,
        writer: &mut TableWriter,
    ) -> Result<Attempt> {
        let files: Vec<DataFile> = state.seen.gold_files.of_workspaces(&unit.workspaces).cloned().collect();
        if files.iter().any(|f| f.deleted.is_some()) {
            return Attempt::recompute("another engine marked rows of the table as deleted");
        }
        let changed = match self.changed_rows(state, unit, moved).await? {
            Ok(changed) => changed,
            Err(reason) => return Attempt::recompute(reason),
        };
        let groups = match self.groups_if_few(unit, &files, &changed).await {
            Ok(groups) => groups,
            Err(reason) => return Attempt::recompute(reason),
        };
        let Some(groups) = groups.filter(|g| !g.is_empty()) else {
            return Ok(Attempt::Done {
                removes: HashSet::new(),
                rows: 0,
                queried: false,
                reason: "the change touches no row of the result".into(),
            });
        };
        if !same_types(&unit.stored, state.gold.schema(), &groups) {
            return Attempt::recompute("the table's columns change");
        }
        let inputs = state.seen.input_files.values().flat_map(|files| files.of_workspaces(&unit.workspaces));
        let skipping = skipping(inputs);
        let rows = self.write(unit, Some((&groups, skipping)), writer).await?;
        let touched = self.touched(&state.gold, files, &groups).await?;
        self.keep_others(&state.gold, &touched, &groups, writer).await?;
        writer.end_workspace().await?;
        let removes = touched.into_iter().map(|f| f.path).collect();
        Ok(Attempt::Done { removes, rows, queried: true, reason: told(&groups) })
    }

    /// The changed rows of each input, ready to be read.
    async fn changed_rows(
        &self,
        state: &State,
        unit: &Unit,
        moved: &BTreeMap<String, BTreeMap<TableName, Moved>>,
    ) -> Result<Known<ChangedInputs>> {
        let mut changed = ChangedInputs::default();
        for (name, input) in state.seen.inputs.iter() {
            let of_unit = unit.workspaces.iter().filter_map(|w| moved.get(w)?.get(name));
            let (mut added, mut removed) = (vec![], vec![]);
            for rows in of_unit {
                added.extend(rows.added.iter().cloned());
                removed.extend(rows.removed.iter().cloned());
            }
            if added.is_empty() && removed.is_empty() {
                continue;
            }
            let Some(scan) = input.scan_changed(&added, &removed).await? else {
                return Ok(Err(format!("rows that `{name}` had are vacuumed")));
            };
            let bytes = state.seen.input_files.get(name).map_or(0, |files| files.bytes(&unit.workspaces));
            if is_much(scan.bytes, bytes) {
                return Ok(Err(format!("much of `{name}` changed")));
            }
            if let Some(came) = scan.came.filter(|_| scan.bytes >= GREAT_FILE) {
                changed.came.insert(name.clone(), ChangedRows { all: came, gone: None });
            }
            changed.all.insert(name.clone(), ChangedRows { all: scan.all, gone: scan.gone });
        }
        Ok(Ok(changed))
    }

    /// As [`Job::groups`]. Rows that came lie together, those that went are scattered over their files: where the first alone touch many groups, the
    /// others are not read.
    async fn groups_if_few(&self, unit: &Unit, files: &[DataFile], changed: &ChangedInputs) -> Known<Option<Groups>> {
        if !changed.came.is_empty() {
            self.groups(unit, files, &changed.came).await?;
        }
        self.groups(unit, files, &changed.all).await
    }

    /// The groups that the change touches; `None` for none at all.
    async fn groups(&self, unit: &Unit, files: &[DataFile], changed: &BTreeMap<TableName, ChangedRows>) -> Known<Option<Groups>> {
        let witness = match Witness::of(&unit.query.plan, changed) {
            Ok(Some(witness)) => witness,
            Ok(None) => return Ok(None),
            Err(refusal) => return Err(refusal.reason()),
        };
        let rows: u64 = files.iter().map(|f| f.rows.unwrap_or_default()).sum();
        let most = usize::try_from(rows / MANY_GROUPS).unwrap_or(usize::MAX);
        let bytes = self.context.lake.engine().budget().set_aside();
        match Groups::collect(&unit.query.session, &witness, &unit.stored, most, bytes).await {
            Ok(Collected::All(groups)) => Ok(Some(groups)),
            Ok(Collected::TooMany) => Err("many of its groups changed".to_owned()),
            Ok(Collected::NoColumn) => Err("no column tells which of its rows a change touches".to_owned()),
            // Rows that went may be gone by now, and the query may fail on rows that it never saw together; in full it says what is wrong.
            Err(error) => {
                tracing::info!(table = %self.table.name, %error, "the change cannot be followed");
                Err("the change could not be followed".to_owned())
            }
        }
    }

    /// Those of `files` that hold a row of the groups.
    async fn touched(&self, gold: &Snapshot, files: Vec<DataFile>, groups: &Groups) -> Result<Vec<DataFile>> {
        if files.is_empty() {
            return Ok(files);
        }
        let session = self.context.lake.engine().scratch_session();
        let file_column = datafusion::common::Column::from_name(Snapshot::file_column());
        let found = self
            .read(&session, gold.scan_files_numbered(files.clone()))?
            .filter(groups.holds(skipping(&files)))
            .and_then(|frame| frame.select([datafusion::logical_expr::Expr::Column(file_column)]))
            .map_err(|e| self.read_error(e))?;
        let mut stream = found.execute_stream().await.map_err(|e| self.read_error(e))?;
        let mut numbers = HashSet::new();
        while let Some(batch) = stream.try_next().await.map_err(|e| self.read_error(e))? {
            self.context.check_cancelled()?;
            numbers.extend(batch.column(0).as_primitive::<UInt32Type>().values().iter().map(|n| *n as usize));
        }
        Ok(files.into_iter().enumerate().filter(|(i, _)| numbers.contains(i)).map(|(_, file)| file).collect())
    }

    /// Writes those rows of `files` that are of other groups.
    async fn keep_others(&self, gold: &Snapshot, files: &[DataFile], groups: &Groups, writer: &mut TableWriter) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let session = self.context.lake.engine().scratch_session();
        let kept =
            self.read(&session, gold.scan_files(files.to_vec()))?.filter(groups.holds_not()).map_err(|e| self.read_error(e))?;
        let mut stream = kept.execute_stream().await.map_err(|e| self.read_error(e))?;
        while let Some(batch) = stream.try_next().await.map_err(|e| self.read_error(e))? {
            self.context.check_cancelled()?;
            writer.write(&conform(&batch, writer.schema())?).await?;
        }
        Ok(())
    }

    fn read(&self, session: &SessionContext, table: std::sync::Arc<dyn datafusion::catalog::TableProvider>) -> Result<DataFrame> {
        session.read_table(table).map_err(|e| self.read_error(e))
    }

    fn read_error(&self, error: DataFusionError) -> Error {
        query_error(&format!("cannot read `{}`", self.table.name), error)
    }
}

/// Whether the table keeps the columns of the groups with the types that the query gives them.
fn same_types(stored: &SchemaRef, gold: &SchemaRef, groups: &Groups) -> bool {
    let data_type = |schema: &SchemaRef, name: &str| schema.field_with_name(name).ok().map(|f| f.data_type().clone());
    groups.columns().iter().all(|name| data_type(stored, name) == data_type(gold, name))
}

/// What was refreshed. Names columns only.
fn told(groups: &Groups) -> String {
    let columns: Vec<&str> = groups.columns().iter().map(String::as_str).filter(|c| *c != WORKSPACE_COLUMN).collect();
    let count = if groups.len() == 1 { "one group".to_owned() } else { format!("{} groups", groups.len()) };
    format!("the change touches {count} of {}", columns.join(", "))
}
