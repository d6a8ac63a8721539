//! Bronze from an external program: what it writes is read like a file, and only when it differs from the last time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use lake::pipeline::TableName;
use lake::report::TableReport;
use lake::table::Scope;
use lake::{Error, ErrorKind, Result};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::context::JobContext;
use crate::ingest::assign::WorkspaceFrom;
use crate::ingest::format::{Compression, Format, Input, ReadOptions};
use crate::ingest::job::{Intake, ingest};
use crate::ingest::program::{Program, run_program};
use crate::ingest::source::{SourceFile, SourceStore};

/// What one Bronze table takes in from a program.
#[derive(Debug, Clone)]
pub struct ProgramIntake {
    /// `bronze.<name>`.
    pub table: TableName,
    /// `description:`.
    pub description: Option<String>,
    /// The catalog's method.
    pub method: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Given to it as JSON.
    pub inputs: Value,
    /// How long it may run.
    pub timeout: Duration,
    /// Raw columns known beforehand.
    pub declared: SchemaRef,
    /// Where a row's workspace comes from.
    pub workspace: WorkspaceFrom,
}

/// Runs the program and takes its output in.
///
/// # Errors
/// [`ErrorKind::Data`] when the program fails; the table is then as it was. Those of [`ingest`].
pub async fn ingest_program(context: &JobContext, intake: &ProgramIntake) -> Result<TableReport> {
    let mut env = vec![("LAKE_RUN_ID".to_string(), context.run_id.clone()), ("LAKE_METHOD".to_string(), intake.method.clone())];
    if let Scope::Workspace(workspace) = &context.scope {
        env.push(("WORKSPACE_ID".to_string(), workspace.to_string()));
    }
    let program =
        Program { method: &intake.method, command: &intake.command, inputs: &intake.inputs, env: &env, timeout: intake.timeout };
    let output = run_program(program, context.cancel.cancelled()).await?;
    // The inputs are part of the path, so that two calls of a method do not take each other's output for a change.
    let inputs = lake::table::fingerprint([intake.inputs.to_string().as_str()]);
    let path = format!("method:{}/{inputs:016x}", intake.method);
    let file = SourceFile { path, size: output.bytes, modified: 0, etag: None, fingerprint: output.fingerprint };
    let mut options = ReadOptions::new(Format::Ndjson);
    options.compression = Some(Compression::None);
    if let WorkspaceFrom::Column(column) = &intake.workspace {
        options.workspace_column = Some(column.clone());
    }
    let intake = Intake {
        table: intake.table.clone(),
        description: intake.description.clone(),
        files: vec![file],
        store: Arc::new(OutputStore(Mutex::new(output.stdout))),
        options,
        format_by_name: false,
        declared: intake.declared.clone(),
        workspace: intake.workspace.clone(),
    };
    ingest(context, &intake).await
}

/// The one output of a program as a store of files.
#[derive(Debug)]
struct OutputStore(Mutex<std::fs::File>);

#[async_trait]
impl SourceStore for OutputStore {
    async fn list(&self, _pattern: &str, _format: Option<Format>) -> Result<Vec<SourceFile>> {
        Ok(vec![])
    }

    async fn open(&self, _file: &SourceFile, _stop: &CancellationToken) -> Result<Input> {
        use std::io::{Seek, SeekFrom};
        let fail = |e: std::io::Error| {
            Error::new(ErrorKind::Storage, format!("cannot read a program's output again: {e}")).with_source(e)
        };
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner).try_clone().map_err(fail)?;
        file.seek(SeekFrom::Start(0)).map_err(fail)?;
        Ok(Input::File(file))
    }
}
