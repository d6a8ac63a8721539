//! One query and the workspaces that it serves.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use lake::incremental::{Groups, Refusal, Skipping, restricted};
use lake::table::{TableWriter, conform, with_workspace};
use lake::{Error, ErrorKind, PlannedQuery, Result, WORKSPACE_COLUMN, query_error};

use super::{Files, Job, State};

/// A planned query and those it is for.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) workspaces: BTreeSet<String>,
    pub(super) query: PlannedQuery,
    /// The columns of its rows as they are stored: with the workspace, when there are several.
    pub(super) stored: SchemaRef,
}

impl Unit {
    pub(super) async fn of_one(job: &Job<'_>, state: &State, workspace: &str) -> Result<Self> {
        let workspaces = BTreeSet::from([workspace.to_owned()]);
        let files = |files: &Files| files.of_workspaces(&workspaces).cloned().collect();
        let files = state.seen.input_files.iter().map(|(name, all)| (name.clone(), files(all))).collect();
        let handle = job.context.lake.workspace(workspace)?.pinned_to(state.seen.inputs.clone(), files);
        let query = handle.plan(&job.table.sql).await?;
        Ok(Self { workspaces, query, stored: job.table.schema.clone() })
    }

    pub(super) async fn of_many(
        job: &Job<'_>,
        state: &State,
        workspaces: &BTreeSet<String>,
    ) -> Result<std::result::Result<Self, Refusal>> {
        let query = job.context.lake.plan_apart(workspaces, state.seen.inputs.clone(), &job.table.sql).await?;
        let stored = with_workspace(&job.table.schema);
        Ok(query.map(|query| Self { workspaces: workspaces.clone(), query, stored }))
    }

    /// The workspace of each row that the query gave: what the lake says of it, whatever the query does.
    fn owners(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let unknown = || Error::new(ErrorKind::Internal, "rows of several workspaces came without them");
        if self.stored.field_with_name(WORKSPACE_COLUMN).is_ok() {
            return batch.column_by_name(WORKSPACE_COLUMN).cloned().ok_or_else(unknown);
        }
        let only = self.workspaces.first().filter(|_| self.workspaces.len() == 1).ok_or_else(unknown)?;
        Ok(Arc::new(StringArray::from(vec![only.as_str(); batch.num_rows()])))
    }

    /// The query's rows as rows of their workspaces.
    fn own_rows(&self, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let internal =
            |e: arrow::error::ArrowError| Error::new(ErrorKind::Internal, "cannot write the query's rows").with_source(e);
        let index = schema.index_of(WORKSPACE_COLUMN).map_err(internal)?;
        let owners = self.owners(batch)?;
        let mut columns = conform(batch, schema)?.columns().to_vec();
        columns[index] = owners;
        debug_assert_eq!(schema.field(index).data_type(), &DataType::Utf8);
        RecordBatch::try_new(schema.clone(), columns).map_err(internal)
    }
}

impl Job<'_> {
    /// Runs the unit's query, for some groups only where they are given, and writes its rows; gives how many there are.
    pub(super) async fn write(&self, unit: &Unit, groups: Option<(&Groups, Skipping)>, writer: &mut TableWriter) -> Result<u64> {
        let name = self.table.name.to_string();
        let fail = |e| query_error(&format!("`{name}` failed"), e);
        let plan = restricted(&unit.query.plan, &unit.stored, groups).map_err(fail)?;
        let mut stream = DataFrame::new(unit.query.session.clone(), plan).execute_stream().await.map_err(fail)?;
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            self.context.check_cancelled()?;
            let batch = batch.map_err(fail)?;
            rows += batch.num_rows() as u64;
            self.context.observer.advanced(&name, batch.num_rows() as u64, batch.get_array_memory_size() as u64);
            writer.write(&unit.own_rows(&batch, writer.schema())?).await?;
        }
        Ok(rows)
    }
}
