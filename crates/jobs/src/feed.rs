//! Rows of Bronze on their way into a Silver table while they are written, so that they need not be read back.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake::kernel::Add;
use lake::merge::{Candidates, Sequence};
use lake::pipeline::{CompiledSilver, TableName};
use lake::spool::{Spool, SpoolWriter};
use lake::table::{At, DataFile, Snapshot, conform, with_workspace};
use lake::verdict::{Judge, RowRules, Tally};
use lake::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::context::JobContext;

/// Batches that wait for the thread that judges them.
const WAITING_BATCHES: usize = 4;

/// A Silver table that reads what one run of ingestion writes.
pub(crate) struct Feed {
    name: TableName,
    sender: mpsc::Sender<RecordBatch>,
    judging: JoinHandle<Result<Judging>>,
}

impl Feed {
    /// Begins to feed `table`, when what is missing in it is exactly what will be written to `bronze`.
    pub(crate) async fn open(context: &JobContext, table: &CompiledSilver, bronze: &Snapshot) -> Result<Option<Self>> {
        if context.full_refresh || !is_level(context, table, bronze).await? {
            return Ok(None);
        }
        let engine = context.lake.engine();
        let judge = Judge::new(&engine.session(), RowRules::from(table))?;
        // The order of arrival is known when all files are.
        let Some(spec) = judge.merge_spec().filter(|s| s.sequence != Sequence::Arrival) else { return Ok(None) };
        let quarantine = with_workspace(judge.quarantine_schema());
        let mut judging = Judging {
            source: table.source_schema.clone(),
            passed: spec.candidates(),
            candidates: Candidates::new(&spec, engine)?,
            quarantined: SpoolWriter::new(quarantine.clone(), engine),
            quarantine,
            judge,
        };
        let (sender, mut rows) = mpsc::channel::<RecordBatch>(WAITING_BATCHES);
        let judging = tokio::task::spawn_blocking(move || {
            while let Some(batch) = rows.blocking_recv() {
                judging.take(&batch)?;
            }
            Ok(judging)
        });
        Ok(Some(Self { name: table.name.clone(), sender, judging }))
    }

    /// Rows that were written; those without a workspace are passed over. A feed that failed takes no more, and says why at its end.
    pub(crate) async fn take(&self, rows: &RecordBatch) {
        let _ = self.sender.send(rows.clone()).await;
    }

    /// What came of the rows, which are now in the files `adds`.
    pub(crate) async fn finish(self, adds: &[Add]) -> Result<(TableName, Fed)> {
        drop(self.sender);
        let lost = |e| Error::new(ErrorKind::Internal, "the rows were not judged").with_source(e);
        let judging = self.judging.await.map_err(lost)??;
        let fed = Fed {
            files: adds.iter().map(|add| add.path.clone()).collect(),
            tally: judging.judge.tally().clone(),
            candidates: judging.candidates,
            quarantined: judging.quarantined.close()?,
        };
        Ok((self.name, fed))
    }
}

/// Whether `table` has absorbed all that is in `bronze` now.
async fn is_level(context: &JobContext, table: &CompiledSilver, bronze: &Snapshot) -> Result<bool> {
    let Some(silver) = context.lake.snapshot(&table.name, At::Latest).await? else {
        return Ok(bronze.files(&context.scope)?.is_empty());
    };
    let input = table.input.to_string();
    let marks = silver.progress().await?.in_scope(&context.scope, std::slice::from_ref(&input));
    Ok(marks.definition == Some(table.fingerprint) && marks.inputs.get(&input) == Some(&bronze.version()))
}

struct Judging {
    judge: Judge,
    source: SchemaRef,
    passed: SchemaRef,
    quarantine: SchemaRef,
    candidates: Candidates,
    quarantined: SpoolWriter,
}

impl Judging {
    fn take(&mut self, rows: &RecordBatch) -> Result<()> {
        let judged = self.judge.judge(&conform(rows, &self.source)?)?;
        self.candidates.push(&conform(&judged.passed, &self.passed)?)?;
        match judged.quarantined {
            Some(rows) => self.quarantined.push(&conform(&rows, &self.quarantine)?),
            None => Ok(()),
        }
    }
}

/// The rows of some files, judged.
pub(crate) struct Fed {
    files: HashSet<String>,
    pub(crate) tally: Tally,
    pub(crate) candidates: Candidates,
    pub(crate) quarantined: Spool,
}

impl Fed {
    /// Whether these are the rows of `files`, no more and no less.
    pub(crate) fn is_of(&self, files: &[DataFile]) -> bool {
        files.len() == self.files.len() && files.iter().all(|f| self.files.contains(f.path.as_ref()))
    }
}

/// What one job of a run leaves for another. Cheap to clone: clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Handover(Arc<Mutex<HashMap<TableName, Fed>>>);

impl fmt::Debug for Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover")
    }
}

impl Handover {
    pub(crate) fn leave(&self, table: TableName, fed: Fed) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(table, fed);
    }

    /// What was left for `table`, once.
    pub(crate) fn take(&self, table: &TableName) -> Option<Fed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(table)
    }
}
