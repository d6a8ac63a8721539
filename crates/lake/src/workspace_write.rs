//! Writing a workspace's rows from a service: append or merge batches, once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use deltalake::kernel::Transaction;

use crate::error::{Error, ErrorKind, Result};
use crate::merge::{ARRIVAL_COLUMN, DELETE_COLUMN, MergeSpec, Sequence, merge};
use crate::pipeline::TableName;
use crate::report::Strategy;
use crate::table::{
    At, Basis, Change, Snapshot, TableWriter, WriterOptions, conform, until_first, with_workspace, without_workspace,
};
use crate::verdict::delta_type;
use crate::workspace::Workspace;
use crate::workspace_id::WORKSPACE_COLUMN;

/// A name and a number that make a write happen once: a write whose number is not greater than the one committed last under its name, for this
/// workspace, is not done again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Who writes, such as `orders-service/partition-3`.
    pub name: String,
    /// Grows with each write, such as an offset.
    pub number: i64,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The table's version after it.
    pub version: i64,
    /// Rows that are in the table because of it.
    pub rows: u64,
    /// Whether it had been done before, and nothing was written.
    pub repeated: bool,
}

impl Workspace {
    /// Adds rows to `table`, which is made when it does not exist. Every row becomes one of this workspace.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a row claims another workspace or a column does not fit the table; those of storage.
    pub async fn append(&self, table: &str, batches: &[RecordBatch], once: Option<Once>) -> Result<Written> {
        let rows = self.own(batches)?;
        let name: TableName = table.parse()?;
        let noted = self.noted();
        until_first(|| noted.try_append(&name, &rows, once.as_ref())).await
    }

    /// Brings rows into `table` by `key`: a row replaces the one of the same key. With `sequence_by` the greater value wins, whatever the order
    /// of the writes; without it the later write wins.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a key column is missing or null, or as [`Workspace::append`].
    pub async fn merge(
        &self,
        table: &str,
        batches: &[RecordBatch],
        key: &[&str],
        sequence_by: Option<&str>,
        once: Option<Once>,
    ) -> Result<Written> {
        let rows = self.own(batches)?;
        let name: TableName = table.parse()?;
        for column in key.iter().copied().chain(sequence_by) {
            let values = rows
                .column_by_name(column)
                .ok_or_else(|| Error::new(ErrorKind::Config, format!("the rows have no column `{column}`")))?;
            if key.contains(&column) && values.null_count() > 0 {
                return Err(Error::new(ErrorKind::Config, format!("the key column `{column}` is null in some rows")));
            }
        }
        let sequence = sequence_by.map_or(Sequence::Arrival, |s| Sequence::Column(s.to_string()));
        let key: Vec<String> = key.iter().map(ToString::to_string).collect();
        let spec = MergeSpec { columns: without_workspace(&rows.schema()), key, sequence, merge_on_read: false };
        let noted = self.noted();
        until_first(|| noted.try_merge(&name, &spec, &rows, once.as_ref())).await
    }

    async fn try_append(&self, name: &TableName, rows: &RecordBatch, once: Option<&Once>) -> Result<Written> {
        let target = self.target(name, rows, &[]).await?;
        if let Some(done) = self.done(&target, once).await? {
            return Ok(done);
        }
        let schema = with_workspace(target.schema());
        let mut writer = TableWriter::new(&target, schema.clone(), WriterOptions::of(self.lake().engine()));
        writer.write(&conform(rows, &schema)?).await?;
        let change = Change {
            adds: writer.finish().await?,
            transactions: self.transaction(once),
            basis: Basis::Nothing,
            ..Default::default()
        };
        let version = target.commit(change, Strategy::Append, "sdk").await?.version;
        Ok(Written { version, rows: rows.num_rows() as u64, repeated: false })
    }

    async fn try_merge(&self, name: &TableName, spec: &MergeSpec, rows: &RecordBatch, once: Option<&Once>) -> Result<Written> {
        let target = self.target(name, rows, &spec.key).await?;
        if let Some(done) = self.done(&target, once).await? {
            return Ok(done);
        }
        let spec = MergeSpec { columns: without_workspace(target.schema()), ..spec.clone() };
        let engine = self.lake().engine();
        let frame =
            engine.session().read_batch(candidates(rows, &spec)?).map_err(|e| crate::query_error("cannot read the rows", e))?;
        let tombstones = self.lake().snapshot(&name.tombstones(), At::Latest).await?;
        let merged = merge(engine, &spec, &target, tombstones.as_ref(), frame, &self.scope(), false).await?;
        let change = Change {
            adds: merged.adds.into_iter().chain(merged.marked).collect(),
            removes: merged.removes,
            transactions: self.transaction(once),
            schema: None,
            basis: Basis::Workspaces([self.id().to_string()].into()),
            moves: merged.moves,
            deletion_vectors: false,
        };
        let version = target.commit(change, merged.strategy.unwrap_or(Strategy::Merge), "sdk").await?.version;
        Ok(Written { version, rows: merged.written, repeated: false })
    }

    /// The table to write to, made when it does not exist; its columns must hold the rows'.
    async fn target(&self, name: &TableName, rows: &RecordBatch, key: &[String]) -> Result<Snapshot> {
        let Some(table) = self.lake().snapshot(name, At::Latest).await? else {
            return Snapshot::create(self.lake().root(), name, &without_workspace(&rows.schema()), key, None).await;
        };
        for field in rows.schema().fields() {
            match table.schema().field_with_name(field.name()) {
                Ok(column) if column.data_type() == field.data_type() => {}
                Ok(column) => {
                    return Err(Error::new(
                        ErrorKind::Config,
                        format!("`{name}.{}` is {}, the rows have {}", field.name(), column.data_type(), field.data_type()),
                    ));
                }
                Err(_) => return Err(Error::new(ErrorKind::Config, format!("`{name}` has no column `{}`", field.name()))),
            }
        }
        Ok(table)
    }

    async fn done(&self, table: &Snapshot, once: Option<&Once>) -> Result<Option<Written>> {
        let Some(once) = once else { return Ok(None) };
        let committed = table.progress().await?.get(&self.once_name(once));
        Ok(committed.filter(|n| *n >= once.number).map(|_| Written { version: table.version(), rows: 0, repeated: true }))
    }

    fn transaction(&self, once: Option<&Once>) -> Vec<Transaction> {
        once.map(|o| Transaction::new(self.once_name(o), o.number)).into_iter().collect()
    }

    fn once_name(&self, once: &Once) -> String {
        format!("sdk:{}@{}", once.name.replace('@', "%40"), self.id())
    }

    /// The rows as one batch of Delta's types with this workspace in every row.
    fn own(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        let Some(first) = batches.first() else {
            return Err(Error::new(ErrorKind::Config, "there are no batches to write"));
        };
        let all = concat_batches(&first.schema(), batches)
            .map_err(|e| Error::new(ErrorKind::Config, "the batches do not have the same columns").with_source(e))?;
        if let Some(claimed) = all.column_by_name(WORKSPACE_COLUMN) {
            let names = claimed.as_string_opt::<i32>();
            if names.is_none_or(|n| n.iter().any(|v| v.is_some_and(|v| v != self.id().as_str()))) {
                return Err(Error::new(ErrorKind::Config, "some rows claim another workspace")
                    .with_hint("write them through that workspace's own handle, or leave the column out"));
            }
        }
        let fields = all
            .schema()
            .fields()
            .iter()
            .filter(|f| f.name() != WORKSPACE_COLUMN)
            .map(|f| Field::new(f.name(), delta_type(f.data_type()), true))
            .collect::<Vec<_>>();
        let own = conform(&all, &Arc::new(Schema::new(fields)))?;
        let names: ArrayRef = Arc::new(StringArray::from(vec![self.id().as_str(); own.num_rows()]));
        let schema = with_workspace(&own.schema());
        let columns = own.columns().iter().cloned().chain([names]).collect();
        RecordBatch::try_new(schema, columns).map_err(internal)
    }
}

/// The rows as candidates that delete nothing, in the order they were given.
fn candidates(rows: &RecordBatch, spec: &MergeSpec) -> Result<RecordBatch> {
    let count = rows.num_rows();
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    let mut columns = rows.columns().to_vec();
    fields.push(Arc::new(Field::new(DELETE_COLUMN, DataType::Boolean, false)));
    columns.push(Arc::new(BooleanArray::from(vec![false; count])));
    fields.push(Arc::new(Field::new(ARRIVAL_COLUMN, DataType::UInt64, false)));
    columns.push(Arc::new(UInt64Array::from_iter_values(0..count as u64)));
    let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(internal)?;
    conform(&all, &spec.candidates())
}

fn internal(source: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Internal, "cannot prepare the rows").with_source(source)
}
