//! A table beside another one (quarantine, tombstones): made when its first row comes, written as rows come, committed at the end.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Transaction;
use lake::pipeline::TableName;
use lake::report::Strategy;
use lake::table::{
    At, Basis, Change, Progress, SchemaChange, Scope, Snapshot, TableWriter, WriterOptions, conform, with_workspace,
};
use lake::{Lake, Result};

use crate::schema::{widened, without_workspace};

/// Rows on their way into a table beside another. Dropped before [`Beside::commit`], it leaves files that no reader sees.
pub(crate) struct Beside {
    lake: Lake,
    name: TableName,
    description: String,
    table: Option<(Snapshot, Progress)>,
    writer: Option<TableWriter>,
    new_columns: bool,
}

impl Beside {
    /// Opens the table as it is now, if it is.
    pub(crate) async fn open(lake: &Lake, name: TableName, description: String) -> Result<Self> {
        let table = match lake.snapshot(&name, At::Latest).await? {
            None => None,
            Some(snapshot) => {
                let progress = snapshot.progress().await?;
                Some((snapshot, progress))
            }
        };
        Ok(Self { lake: lake.clone(), name, description, table, writer: None, new_columns: false })
    }

    /// How far the table has come.
    pub(crate) fn progress(&self) -> Progress {
        self.table.as_ref().map(|(_, p)| p.clone()).unwrap_or_default()
    }

    /// The table as it was opened.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        self.table.as_ref().map(|(s, _)| s)
    }

    /// Takes the columns of the rows to come as they are, when all rows there are will go.
    pub(crate) fn replace_columns_unless_shared(&mut self, scope: &Scope) -> Result<()> {
        if let Some((table, _)) = &self.table {
            self.new_columns = table.files(&Scope::Feed)?.iter().all(|f| scope.holds(f.workspace.as_deref()));
        }
        Ok(())
    }

    /// Writes rows; columns the table lacks are added to it.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = without_workspace(&batch.schema());
        let mut writer = match self.writer.take() {
            Some(writer) => writer,
            None => self.start(&columns).await?,
        };
        let rows = widened(&self.name, &without_workspace(writer.schema()), &columns)?;
        let schema = with_workspace(&rows);
        if schema.fields() != writer.schema().fields() {
            writer.widen(schema.clone()).await?;
        }
        writer.write(&conform(batch, &schema)?).await?;
        self.writer = Some(writer);
        Ok(())
    }

    async fn start(&mut self, columns: &SchemaRef) -> Result<TableWriter> {
        let table = match &self.table {
            Some((table, _)) => table.clone(),
            None => Snapshot::create(self.lake.root(), &self.name, columns, &[], Some(&self.description)).await?,
        };
        let old = without_workspace(table.schema());
        let schema = if self.new_columns { columns.clone() } else { widened(&self.name, &old, columns)? };
        let progress = self.progress();
        let writer = TableWriter::new(&table, with_workspace(&schema), WriterOptions::of(self.lake.engine()));
        self.table = Some((table, progress));
        Ok(writer)
    }

    /// Commits what was written, in place of the files of `removes`, with the transactions that `advance` makes. Nothing happens when there is
    /// nothing to add or remove.
    pub(crate) async fn commit(
        self,
        removes: HashSet<object_store::path::Path>,
        advance: impl FnOnce(&Progress) -> Vec<Transaction>,
        run_id: &str,
    ) -> Result<()> {
        let Some((table, progress)) = self.table.filter(|_| self.writer.is_some() || !removes.is_empty()) else { return Ok(()) };
        let old = without_workspace(table.schema());
        let schema = self.writer.as_ref().map_or_else(|| old.clone(), |w| without_workspace(w.schema()));
        let adds = match self.writer {
            Some(writer) => writer.finish().await?,
            None => vec![],
        };
        let schema =
            (schema.fields() != old.fields()).then(|| SchemaChange { schema: schema.as_ref().clone(), stats_columns: None });
        let strategy = if removes.is_empty() { Strategy::Append } else { Strategy::Replace };
        let basis = if removes.is_empty() { Basis::Nothing } else { Basis::Table };
        let change = Change { adds, removes, transactions: advance(&progress), schema, basis, ..Default::default() };
        table.commit(change, strategy, run_id).await.map(|_| ())
    }
}
