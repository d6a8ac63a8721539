//! Several workspaces at once, for queries that keep their rows apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;

use crate::engine::CATALOG;
use crate::error::{Error, Result};
use crate::incremental::{Refusal, apart};
use crate::lake::Lake;
use crate::pipeline::{Layer, TableName, quote_hidden_names};
use crate::query_error::query_error;
use crate::table::{DataFile, Scope, Snapshot};
use crate::workspace::Workspace;

/// A query over the rows of one workspace, or over those of several without that they meet.
#[derive(Clone)]
pub struct PlannedQuery {
    /// What it runs in.
    pub session: SessionState,
    /// Analysed, not optimised. For several workspaces its last column names the row's.
    pub plan: LogicalPlan,
}

impl fmt::Debug for PlannedQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedQuery").field("plan", &self.plan.display().to_string()).finish_non_exhaustive()
    }
}

impl Workspace {
    /// Plans one query over this workspace's rows, as [`Workspace::query`] does, for those who rewrite it.
    ///
    /// # Errors
    /// As [`Workspace::query`].
    pub async fn plan(&self, sql: &str) -> Result<PlannedQuery> {
        let (session, plan) = self.query(sql).await?.into_parts();
        let plan = analysed(&session, plan)?;
        Ok(PlannedQuery { session, plan })
    }
}

impl Lake {
    /// Plans one query for all of `workspaces`: it gives the rows that it would give over each one's rows alone, each with its workspace. The tables
    /// are read as they are in `snapshots`.
    ///
    /// # Errors
    /// As [`Workspace::query`]. A [`Refusal`] when the query cannot keep workspaces apart; it must then be run for each.
    pub async fn plan_apart(
        &self,
        workspaces: &BTreeSet<String>,
        snapshots: Arc<BTreeMap<TableName, Snapshot>>,
        sql: &str,
    ) -> Result<std::result::Result<PlannedQuery, Refusal>> {
        let context = self.engine().session();
        let catalog = MemoryCatalogProvider::new();
        let workspaces = Arc::new(workspaces.clone());
        for layer in Layer::ALL {
            let tables = Tables { workspaces: workspaces.clone(), snapshots: snapshots.clone(), layer };
            // Registering into a fresh in-memory catalog cannot fail.
            let _ = catalog.register_schema(layer.as_str(), Arc::new(tables));
        }
        context.register_catalog(CATALOG, Arc::new(catalog));
        let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let planned = context.sql_with_options(&quote_hidden_names(sql), options).await;
        let (session, plan) = planned.map_err(|e| query_error("the query is not right", e))?.into_parts();
        let plan = apart(&analysed(&session, plan)?);
        Ok(plan.map(|plan| PlannedQuery { session, plan }))
    }
}

fn analysed(session: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let done = session.analyzer().execute_and_check(plan, session.config_options(), |_, _| {});
    done.map_err(|e| query_error("the query is not right", e))
}

/// A layer's tables, with the rows of some workspaces. Nothing but [`Lake::plan_apart`] reaches it, and no plan over it leaves there but one that keeps
/// workspaces apart.
struct Tables {
    workspaces: Arc<BTreeSet<String>>,
    snapshots: Arc<BTreeMap<TableName, Snapshot>>,
    layer: Layer,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tables({})", self.layer)
    }
}

impl Tables {
    fn files(&self, snapshot: &Snapshot) -> Result<Vec<DataFile>> {
        let mut files = snapshot.files(&Scope::Feed)?;
        files.retain(|f| f.workspace.as_ref().is_some_and(|w| self.workspaces.contains(w)));
        Ok(files)
    }
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        vec![]
    }

    async fn table(&self, name: &str) -> datafusion::common::Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Ok(name) = TableName::checked(self.layer, name) else { return Ok(None) };
        let Some(snapshot) = self.snapshots.get(&name) else { return Ok(None) };
        let external = |e: Error| DataFusionError::External(Box::new(e));
        let files = self.files(snapshot).map_err(external)?;
        Ok(Some(snapshot.scan_files(files)))
    }

    fn table_exist(&self, _name: &str) -> bool {
        false
    }
}
