//! A workspace: SQL and tables that hold its rows only.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{DataFrame, SessionContext};

use crate::diagnostic::nearest;
use crate::engine::CATALOG;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::pipeline::{Layer, TableName, quote_hidden_names};
use crate::query_error::{missing_table, query_error};
use crate::table::{At, DataFile, Footprint, Scope, Snapshot};
use crate::workspace_id::WorkspaceId;

/// A tenant's view of the lake. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workspace {
    lake: Lake,
    id: WorkspaceId,
    at: At,
    /// Tables that are read at a version chosen before.
    pinned: Arc<BTreeMap<TableName, Snapshot>>,
    /// Their files with this workspace's rows, where someone has gone through them all before.
    pinned_files: Arc<BTreeMap<TableName, Vec<DataFile>>>,
}

impl Workspace {
    pub(crate) fn new(lake: Lake, id: WorkspaceId) -> Self {
        Self { lake, id, at: At::Latest, pinned: Arc::default(), pinned_files: Arc::default() }
    }

    /// The same workspace as its tables were at a version or time.
    #[must_use]
    pub fn at(mut self, at: At) -> Self {
        self.at = at;
        self
    }

    /// The same workspace reading the tables of `snapshots` as they are there.
    #[must_use]
    pub fn pinned(mut self, snapshots: Arc<BTreeMap<TableName, Snapshot>>) -> Self {
        self.pinned = snapshots;
        self
    }

    /// As [`Workspace::pinned`], with the files of those tables that hold this workspace's rows. Others among them are not read.
    #[must_use]
    pub fn pinned_to(
        mut self,
        snapshots: Arc<BTreeMap<TableName, Snapshot>>,
        mut files: BTreeMap<TableName, Vec<DataFile>>,
    ) -> Self {
        files.values_mut().for_each(|files| files.retain(|f| f.workspace.as_deref() == Some(self.id.as_str())));
        self.pinned_files = Arc::new(files);
        self.pinned(snapshots)
    }

    /// Its name.
    pub fn id(&self) -> &WorkspaceId {
        &self.id
    }

    /// The lake it is in.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    pub(crate) fn scope(&self) -> Scope {
        Scope::Workspace(self.id.clone())
    }

    /// The same workspace; commits outside of its partitions are refused.
    pub(crate) fn noted(&self) -> Self {
        Self { lake: self.lake.noted(&Footprint::of(self.scope())), ..self.clone() }
    }

    /// Plans one query over this workspace's rows. Tables are named `layer.table`; nothing but `SELECT` (and `EXPLAIN`) is allowed.
    ///
    /// # Errors
    /// [`ErrorKind::Query`] when the SQL is wrong or does more than query.
    pub async fn query(&self, sql: &str) -> Result<DataFrame> {
        let session = self.session();
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        match session.sql_with_options(&quote_hidden_names(sql), options).await {
            Ok(frame) => Ok(frame),
            Err(error) => match missing_table(&error) {
                Some(name) => Err(self.no_table(&name).await),
                None => Err(query_error("the query is not right", error)),
            },
        }
    }

    /// Says which table there is instead. The names of tables are the same for every workspace.
    async fn no_table(&self, name: &str) -> Error {
        let tables: Vec<String> = self.lake.tables().await.unwrap_or_default().iter().map(ToString::to_string).collect();
        let hint = match nearest(name, tables.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`lake status` lists the tables; a name is `layer.table`, such as `silver.posts`".to_string(),
        };
        Error::new(ErrorKind::Query, format!("there is no table `{name}`")).with_hint(hint)
    }

    /// Runs a query to its end.
    pub async fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>> {
        self.query(sql).await?.collect().await.map_err(|e| query_error("the query failed", e))
    }

    /// A session whose tables hold this workspace's rows only. Tables are opened when a query names them.
    pub fn session(&self) -> SessionContext {
        let session = self.lake.engine().session();
        let catalog = MemoryCatalogProvider::new();
        for layer in Layer::ALL {
            let schema = LayerSchema { workspace: self.clone(), layer };
            // Registering into a fresh in-memory catalog cannot fail.
            let _ = catalog.register_schema(layer.as_str(), Arc::new(schema));
        }
        session.register_catalog(CATALOG, Arc::new(catalog));
        session
    }

    /// A table of this workspace.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such table.
    pub async fn table(&self, name: &str) -> Result<WorkspaceTable> {
        let name: TableName = name.parse()?;
        match self.lake.snapshot(&name, self.at).await? {
            Some(snapshot) => Ok(WorkspaceTable { workspace: self.clone(), snapshot }),
            None => Err(Error::new(ErrorKind::NotFound, format!("there is no table `{name}`"))
                .with_hint("`lake status` lists the tables; `lake run` makes them")),
        }
    }
}

/// One table as one workspace sees it, at a version.
#[derive(Debug, Clone)]
pub struct WorkspaceTable {
    workspace: Workspace,
    snapshot: Snapshot,
}

impl WorkspaceTable {
    /// `layer.name`.
    pub fn name(&self) -> &TableName {
        self.snapshot.name()
    }

    /// The version that is read.
    pub fn version(&self) -> i64 {
        self.snapshot.version()
    }

    /// The columns, `workspace_id` last.
    pub fn schema(&self) -> &SchemaRef {
        self.snapshot.schema()
    }

    /// The workspace's rows as a DataFusion frame.
    pub async fn dataframe(&self) -> Result<DataFrame> {
        let provider = self.snapshot.provider(&self.workspace.scope()).await?;
        self.workspace.lake.engine().session().read_table(provider).map_err(|e| query_error("cannot read the table", e))
    }

    /// The workspace's rows as a stream of Arrow batches.
    pub async fn stream(&self) -> Result<SendableRecordBatchStream> {
        self.dataframe().await?.execute_stream().await.map_err(|e| query_error("cannot read the table", e))
    }

    /// The workspace's rows, all in memory.
    pub async fn read(&self) -> Result<Vec<RecordBatch>> {
        self.dataframe().await?.collect().await.map_err(|e| query_error("cannot read the table", e))
    }

    /// The snapshot below.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The workspace.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }
}

/// A layer as a schema of SQL. It has no list of tables, and hands out the workspace's rows only.
struct LayerSchema {
    workspace: Workspace,
    layer: Layer,
}

impl fmt::Debug for LayerSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LayerSchema({})", self.layer)
    }
}

#[async_trait]
impl SchemaProvider for LayerSchema {
    fn table_names(&self) -> Vec<String> {
        vec![]
    }

    async fn table(&self, name: &str) -> datafusion::common::Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Ok(name) = TableName::checked(self.layer, name) else { return Ok(None) };
        let external = |e: Error| DataFusionError::External(Box::new(e));
        if let Some(snapshot) = self.workspace.pinned.get(&name) {
            if let Some(files) = self.workspace.pinned_files.get(&name) {
                return Ok(Some(snapshot.scan_files(files.clone())));
            }
            return snapshot.provider(&self.workspace.scope()).await.map(Some).map_err(external);
        }
        let Some(snapshot) = self.workspace.lake.snapshot(&name, self.workspace.at).await.map_err(external)? else {
            return Ok(None);
        };
        snapshot.provider(&self.workspace.scope()).await.map(Some).map_err(external)
    }

    fn table_exist(&self, _name: &str) -> bool {
        false
    }
}
