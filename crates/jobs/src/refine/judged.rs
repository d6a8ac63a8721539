//! The judged rows as a table that a plan can read once: rows that pass flow on, the others are set aside.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef, UInt32Type};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Column, DataFusionError};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion::prelude::{DataFrame, col};
use futures::StreamExt;
use lake::merge::{ARRIVAL_COLUMN, DELETE_COLUMN, Sequence};
use lake::table::{Snapshot, conform};
use lake::verdict::{Judge, Tally};
use lake::{Error, ErrorKind, Result, query_error};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::beside::Beside;
use crate::context::JobContext;
use crate::refine::Job;
use crate::refine::input::Input;

/// The input of a Silver table being read, judged and parted.
pub(super) struct JudgedRows {
    plan: Arc<dyn ExecutionPlan>,
    judges: Vec<Judge>,
    shared: Shared,
    writing: JoinHandle<Result<Beside>>,
}

/// What every partition works with.
#[derive(Clone)]
struct Shared {
    context: JobContext,
    /// Of the rows that pass.
    schema: SchemaRef,
    /// Of the rows to judge.
    source_schema: SchemaRef,
    table: String,
    /// For each input file, whether the quarantine has its rows already.
    quarantined_before: Arc<Vec<bool>>,
    /// Bytes and rows of the input as it is stored: rows tell how many of the bytes are done.
    stored: (u64, u64),
    tally: Arc<Mutex<Tally>>,
    /// The task that writes the quarantine ends when every copy is gone.
    quarantine: mpsc::Sender<RecordBatch>,
}

/// Batches of quarantined rows that wait for the task that writes them.
const WAITING_BATCHES: usize = 8;

impl JudgedRows {
    pub(super) async fn start(job: &Job<'_>, input: &Input, quarantine: Beside) -> Result<Self> {
        let engine = job.context.lake.engine();
        let by_arrival = job.spec.as_ref().is_some_and(|s| s.sequence == Sequence::Arrival);
        let fail = |e| query_error(&format!("cannot read `{}`", job.table.input), e);
        let session = if by_arrival { engine.single_threaded().session() } else { engine.session() };
        let files = input.files.clone();
        let provider = job.bronze.scan_files_numbered(files);
        let mut frame = session.read_table(provider).map_err(fail)?;
        if by_arrival {
            // The order of files says nothing after a compaction; the origin of each row does.
            let order = ["_ingested_at", "_run_id", "_source", "_source_row"];
            frame = frame.sort(order.map(|c| col(Column::from_name(c)).sort(true, true)).to_vec()).map_err(fail)?;
        }
        let plan = frame.create_physical_plan().await.map_err(fail)?;
        let partitions = plan.output_partitioning().partition_count();
        let judges = (0..partitions).map(|_| Judge::new(&session, job.rules.clone())).collect::<Result<Vec<_>>>()?;
        let schema = match &job.spec {
            Some(spec) => spec.candidates(),
            None => appended(&job.table_schema),
        };
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
        let writing = tokio::spawn(write_quarantine(quarantine, receiver, job.quarantine_columns()));
        let shared = Shared {
            context: job.context.clone(),
            schema,
            source_schema: job.rules.source_schema.clone(),
            table: job.name().to_string(),
            quarantined_before: Arc::new(input.quarantined_before.clone()),
            stored: (input.files.iter().map(|f| f.size).sum(), input.files.iter().filter_map(|f| f.rows).sum()),
            tally: Arc::default(),
            quarantine: sender,
        };
        Ok(Self { plan, judges, shared, writing })
    }

    /// The rows that pass, as a frame that reads the input once.
    pub(super) fn passed(&self) -> Result<DataFrame> {
        let fail = |e| query_error("cannot read the input", e);
        let partitions = self.judges.iter().enumerate().map(|(index, judge)| self.partition(index, judge)).collect();
        let table = StreamingTable::try_new(self.shared.schema.clone(), partitions).map_err(fail)?;
        self.shared.context.lake.engine().session().read_table(Arc::new(table)).map_err(fail)
    }

    /// Each partition counts on its own judge; the judges share nothing but their rules.
    fn partition(&self, index: usize, judge: &Judge) -> Arc<dyn PartitionStream> {
        Arc::new(Partition {
            plan: self.plan.clone(),
            index,
            judge: Mutex::new(Some(judge.again())),
            shared: self.shared.clone(),
        })
    }

    /// What was counted, and the quarantine with its rows written, after the frame was read to its end.
    pub(super) async fn finish(self) -> Result<(Tally, Beside)> {
        let Shared { tally, quarantine, .. } = self.shared;
        drop(quarantine);
        let quarantine = self
            .writing
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, "the quarantine was not written").with_source(e))??;
        let tally = std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((tally, quarantine))
    }
}

/// Writes quarantined rows as they come, so that they need not be held.
async fn write_quarantine(mut quarantine: Beside, mut rows: mpsc::Receiver<RecordBatch>, columns: SchemaRef) -> Result<Beside> {
    while let Some(batch) = rows.recv().await {
        quarantine.write(&conform(&batch, &columns)?).await?;
    }
    Ok(quarantine)
}

fn appended(table: &SchemaRef) -> SchemaRef {
    let with = lake::table::with_workspace(table);
    let delete = Arc::new(arrow::datatypes::Field::new(DELETE_COLUMN, arrow::datatypes::DataType::Boolean, false));
    Arc::new(Schema::new(with.fields().iter().cloned().chain([delete]).collect::<Vec<_>>()))
}

struct Partition {
    plan: Arc<dyn ExecutionPlan>,
    index: usize,
    judge: Mutex<Option<Judge>>,
    shared: Shared,
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({} of {})", self.index, self.shared.table)
    }
}

impl PartitionStream for Partition {
    fn schema(&self) -> &SchemaRef {
        &self.shared.schema
    }

    fn execute(&self, task: Arc<TaskContext>) -> SendableRecordBatchStream {
        let started = self.start(&task);
        let schema = self.shared.schema.clone();
        let stream = futures::stream::once(async move { started }).flat_map(|started| match started {
            Ok(stream) => stream.boxed(),
            Err(error) => futures::stream::once(async move { Err(external(error)) }).boxed(),
        });
        Box::pin(RecordBatchStreamAdapter::new(schema, stream))
    }
}

impl Partition {
    /// Judges the partition's batches one by one; at its end the counts are handed in.
    fn start(
        &self,
        task: &Arc<TaskContext>,
    ) -> Result<impl futures::Stream<Item = datafusion::common::Result<RecordBatch>> + Send + use<>> {
        let judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner).take();
        let judge = judge.ok_or_else(|| Error::new(ErrorKind::Internal, "the input of a table was read twice"))?;
        let input = self.plan.execute(self.index, task.clone()).map_err(|e| query_error("cannot read the input", e))?;
        let worker = Worker { judge, arrived: 0, shared: self.shared.clone() };
        Ok(futures::stream::unfold((input, worker), |(mut input, mut worker)| async move {
            let next = input.next().await?;
            let judged = match next {
                Ok(batch) => worker.judge(&batch).await.map_err(external),
                Err(error) => Err(error),
            };
            Some((judged, (input, worker)))
        }))
    }
}

struct Worker {
    judge: Judge,
    arrived: u64,
    shared: Shared,
}

impl Worker {
    async fn judge(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.shared.context.check_cancelled()?;
        let rows = batch.num_rows() as u64;
        self.shared.context.observer.advanced(
            &self.shared.table,
            rows,
            rows.saturating_mul(self.shared.stored.0) / self.shared.stored.1.max(1),
        );
        let source = conform(batch, &self.judged_schema())?;
        let judged = self.judge.judge(&source)?;
        if let Some(rows) = judged.quarantined {
            let fresh = self.not_quarantined_before(&rows)?;
            if fresh.num_rows() > 0 {
                // A task that is gone has failed; its error comes out when it is joined.
                let _ = self.shared.quarantine.send(fresh).await;
            }
        }
        let arrival = self.arrival(&judged.passed);
        conform(&arrival?, &self.shared.schema)
    }

    /// The input's columns and the number of each row's file.
    fn judged_schema(&self) -> SchemaRef {
        let number = Arc::new(arrow::datatypes::Field::new(Snapshot::file_column(), arrow::datatypes::DataType::UInt32, false));
        Arc::new(Schema::new(self.shared.source_schema.fields().iter().cloned().chain([number]).collect::<Vec<_>>()))
    }

    fn not_quarantined_before(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let internal = |e: arrow::error::ArrowError| Error::new(ErrorKind::Internal, "cannot part the rows").with_source(e);
        let Some(files) = rows.column_by_name(Snapshot::file_column()).and_then(|c| c.as_primitive_opt::<UInt32Type>()) else {
            return Ok(rows.clone());
        };
        let before = |file: u32| self.shared.quarantined_before.get(file as usize).copied().unwrap_or(false);
        let fresh: BooleanArray = files.values().iter().map(|f| Some(!before(*f))).collect();
        filter_record_batch(rows, &fresh).map_err(internal)
    }

    fn arrival(&mut self, passed: &RecordBatch) -> Result<RecordBatch> {
        if self.shared.schema.field_with_name(ARRIVAL_COLUMN).is_err() {
            return Ok(passed.clone());
        }
        let numbers = UInt64Array::from_iter_values(self.arrived..self.arrived + passed.num_rows() as u64);
        self.arrived += numbers.len() as u64;
        let field = Arc::new(arrow::datatypes::Field::new(ARRIVAL_COLUMN, arrow::datatypes::DataType::UInt64, false));
        let schema = Schema::new(passed.schema().fields().iter().cloned().chain([field]).collect::<Vec<_>>());
        let columns = passed.columns().iter().cloned().chain([Arc::new(numbers) as _]).collect();
        RecordBatch::try_new(Arc::new(schema), columns)
            .map_err(|e| Error::new(ErrorKind::Internal, "cannot number the rows").with_source(e))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.tally.lock().unwrap_or_else(PoisonError::into_inner).add(self.judge.tally());
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
