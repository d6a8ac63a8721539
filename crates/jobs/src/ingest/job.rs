//! Bronze: appends the rows of source files that are new or changed, each file once, in the commit that says so.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use deltalake::kernel::{Add, Transaction};
use lake::pipeline::{ORIGIN_COLUMNS, TableName};
use lake::report::{Strategy, TableReport, TableStatus};
use lake::table::{
    At, Basis, Change, Committed, Progress, SchemaChange, Scope, Snapshot, TableWriter, WriterOptions, with_workspace,
};
use lake::verdict::REASON_COLUMN;
use lake::{Error, ErrorKind, Result, WORKSPACE_COLUMN};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::beside::Beside;
use crate::context::JobContext;
use crate::feed::{Fed, Feed};
use crate::ingest::assign::{Assigned, Assigner, WorkspaceFrom};
use crate::ingest::format::{self, BatchReader, Format, RawBatch, ReadOptions, merge_schemas, settle};
use crate::ingest::source::{SourceFile, SourceStore};
use crate::plan::Intended;

/// The column of a Bronze quarantine with the workspace as it was delivered.
pub const DELIVERED_WORKSPACE: &str = "_delivered_workspace";

/// Batches that wait between the thread that reads a file and the one that writes.
const WAITING_BATCHES: usize = 4;

/// What one Bronze table takes in.
#[derive(Debug, Clone)]
pub struct Intake {
    /// `bronze.<name>`.
    pub table: TableName,
    /// `description:`.
    pub description: Option<String>,
    /// The files there are.
    pub files: Vec<SourceFile>,
    /// Where they are read from.
    pub store: Arc<dyn SourceStore>,
    /// How they are read; what differs from file to file is filled in by [`Intake::options_for`].
    pub options: ReadOptions,
    /// Whether the name of each file tells its format; else all of them are of the format of `options`.
    pub format_by_name: bool,
    /// Raw columns known beforehand.
    pub declared: SchemaRef,
    /// Where a row's workspace comes from.
    pub workspace: WorkspaceFrom,
}

impl Intake {
    /// How `file` is read when the columns `known` are established.
    pub fn options_for(&self, file: &SourceFile, known: SchemaRef) -> ReadOptions {
        let named = Format::from_file_name(&file.path).filter(|_| self.format_by_name);
        let format = named.unwrap_or(self.options.format);
        ReadOptions { format, known, ..self.options.clone() }
    }
}

/// Brings one Bronze table up to date.
///
/// # Errors
/// [`ErrorKind::Data`] when a file cannot be read to its end: then no file of this run is taken in. Those of storage.
pub async fn ingest(context: &JobContext, intake: &Intake) -> Result<TableReport> {
    context.until_committed(&intake.table, || async { Job::open(context, intake).await?.run().await }).await
}

/// The columns of a Bronze table with these raw columns, without `workspace_id`.
pub fn bronze_schema(raw: &Schema) -> SchemaRef {
    let origin = [
        Field::new(ORIGIN_COLUMNS[0], DataType::Utf8, true),
        Field::new(ORIGIN_COLUMNS[1], DataType::Int64, true),
        Field::new(ORIGIN_COLUMNS[2], DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new(ORIGIN_COLUMNS[3], DataType::Utf8, true),
        Field::new(ORIGIN_COLUMNS[4], DataType::Utf8, true),
    ];
    let raw = raw.fields().iter().filter(|f| is_raw(f.name())).cloned();
    Arc::new(Schema::new(raw.chain(origin.into_iter().map(Arc::new)).collect::<Vec<_>>()))
}

/// The raw columns of a Bronze table.
pub fn raw_columns(table: &Schema) -> SchemaRef {
    Arc::new(Schema::new(table.fields().iter().filter(|f| is_raw(f.name())).cloned().collect::<Vec<_>>()))
}

fn is_raw(name: &str) -> bool {
    name != WORKSPACE_COLUMN && name != REASON_COLUMN && name != DELIVERED_WORKSPACE && !ORIGIN_COLUMNS.contains(&name)
}

struct Job<'a> {
    context: &'a JobContext,
    intake: &'a Intake,
    bronze: Snapshot,
    existed: bool,
    progress: Progress,
}

/// A file to read, and the workspaces whose rows of it are in the table already.
struct Pending<'a> {
    file: &'a SourceFile,
    done: HashSet<String>,
    quarantined_before: bool,
}

/// Batches of a file, each with the bytes read so far.
type Batches = mpsc::Receiver<Result<(RawBatch, u64)>>;

/// What reading the files came to.
struct Loaded {
    adds: Vec<Add>,
    raw: SchemaRef,
    read: u64,
    written: u64,
    quarantined: u64,
    quarantine: Option<Beside>,
    feeds: Vec<Feed>,
    fed: Vec<(TableName, Fed)>,
}

impl<'a> Job<'a> {
    async fn open(context: &'a JobContext, intake: &'a Intake) -> Result<Job<'a>> {
        let root = context.lake.root();
        let existing = context.lake.snapshot(&intake.table, At::Latest).await?;
        let existed = existing.is_some();
        let bronze = match existing {
            Some(table) => table,
            None => {
                let schema = bronze_schema(&settle(&intake.declared));
                let stats = ["_source", "_source_row", "_ingested_at"].map(String::from);
                Snapshot::create(root, &intake.table, &schema, &stats, intake.description.as_deref()).await?
            }
        };
        let progress = bronze.progress().await?;
        Ok(Self { context, intake, bronze, existed, progress })
    }

    async fn run(&self) -> Result<TableReport> {
        let mut report = TableReport::new(self.intake.table.to_string());
        report.version_from = self.existed.then(|| self.bronze.version());
        report.version_to = Some(self.bronze.version());
        let text = format!("Rows of `{}` that named no workspace", self.intake.table);
        let quarantine = Beside::open(&self.context.lake, self.intake.table.quarantine(), text).await?;
        let pending = self.pending(&quarantine.progress());
        if pending.is_empty() {
            return Ok(report);
        }
        report.plan = Some(self.intended(&pending).files(pending.iter().map(|p| p.file))?);
        report.files_read = pending.len() as u64;
        report.bytes_read = pending.iter().map(|p| p.file.size).sum();
        self.context.observer.started(&report.table, Some(report.bytes_read));
        let mut loaded = self.load(&pending, quarantine).await?;
        if let Some(quarantine) = loaded.quarantine.take() {
            // Under a record of its own, and first: after a crash between the two its rows are not added again.
            quarantine.commit(HashSet::new(), |_| self.transactions(&pending), &self.context.run_id).await?;
        }
        report.rows_read = loaded.read;
        report.input_rows = Some(loaded.read);
        report.rows_written = loaded.written;
        report.rows_quarantined = loaded.quarantined;
        if loaded.quarantined > 0 {
            report.quarantine_reasons.insert(crate::ingest::assign::NO_WORKSPACE.to_string(), loaded.quarantined);
        }
        report.files_written = loaded.adds.len() as u64;
        report.bytes_written = lake::table::bytes_of(&loaded.adds);
        let fed = std::mem::take(&mut loaded.fed);
        let committed = self.commit(loaded, &pending).await?;
        fed.into_iter().for_each(|(table, fed)| self.context.handover.leave(table, fed));
        report.version_to = Some(committed.version);
        report.commits_resent = committed.resent;
        report.status = TableStatus::Written;
        report.strategy = Some(Strategy::Append);
        Ok(report)
    }

    fn intended(&self, pending: &[Pending<'_>]) -> Intended<'_> {
        let all: u64 = self.intake.files.iter().map(|f| f.size).sum();
        let todo: u64 = pending.iter().map(|p| p.file.size).sum();
        Intended {
            name: &self.intake.table,
            table: Some(&self.bronze),
            existed: self.existed,
            scope: &self.context.scope,
            loaded: all.saturating_sub(todo),
            readers: self.context.readers.len(),
            engine: self.context.lake.engine(),
        }
    }

    /// The files that are not in the table as they are now.
    fn pending(&self, quarantine: &Progress) -> Vec<Pending<'a>> {
        let is_done = |file: &SourceFile, progress: &Progress| is_loaded_in(file, progress, &self.context.scope);
        let todo = self.intake.files.iter().filter(|f| !is_done(f, &self.progress));
        let owners: BTreeMap<&str, BTreeSet<&str>> = own_records(&self.progress);
        todo.map(|file| Pending {
            file,
            done: owners
                .get(feed_key(file).as_str())
                .into_iter()
                .flatten()
                .filter(|w| self.progress.get(&own_key(file, w)) == Some(file.fingerprint))
                .map(ToString::to_string)
                .collect(),
            quarantined_before: is_done(file, quarantine),
        })
        .collect()
    }

    async fn load(&self, pending: &[Pending<'_>], quarantine: Beside) -> Result<Loaded> {
        let raw = merge_schemas(&raw_columns(self.bronze.schema()), &self.intake.declared);
        let mut writer = TableWriter::new(
            &self.bronze,
            with_workspace(&bronze_schema(&known(&raw))),
            WriterOptions::of(self.context.lake.engine()),
        );
        let mut loaded = Loaded {
            adds: vec![],
            raw: Arc::new(raw),
            read: 0,
            written: 0,
            quarantined: 0,
            quarantine: Some(quarantine),
            feeds: self.feeds().await?,
            fed: vec![],
        };
        for file in pending {
            self.load_file(file, &mut writer, &mut loaded).await?;
        }
        loaded.written = writer.rows();
        loaded.adds = writer.finish().await?;
        for feed in std::mem::take(&mut loaded.feeds) {
            match feed.finish(&loaded.adds).await {
                Ok(fed) => loaded.fed.push(fed),
                // Its own job reads the rows again, and fails by the same if it has to.
                Err(error) => tracing::debug!(%error, "a table is not fed"),
            }
        }
        Ok(loaded)
    }

    async fn feeds(&self) -> Result<Vec<Feed>> {
        let mut feeds = vec![];
        for table in self.context.readers.iter() {
            feeds.extend(Feed::open(self.context, table, &self.bronze).await?);
        }
        Ok(feeds)
    }

    async fn load_file(&self, pending: &Pending<'_>, writer: &mut TableWriter, loaded: &mut Loaded) -> Result<()> {
        let assigner = Assigner::new(&self.intake.workspace, &self.context.scope, &pending.done);
        // When this ends before the file does, by an error or because the user stops, nothing more of it is fetched.
        let stop = self.context.cancel.child_token();
        let _stopped_at_the_end = stop.clone().drop_guard();
        let (mut batches, reader) = self.read(pending.file, loaded.raw.clone(), &stop).await?;
        let mut bytes_before = 0;
        while let Some(next) = batches.recv().await {
            self.context.check_cancelled()?;
            let (batch, bytes) = next?;
            let merged = merge_schemas(&loaded.raw, batch.batch.schema().as_ref());
            if merged.fields() != loaded.raw.fields() {
                loaded.raw = Arc::new(merged);
                writer.widen(with_workspace(&bronze_schema(&known(&loaded.raw)))).await?;
            }
            let rows = assigner.assign(&batch, &loaded.raw, &self.origin(pending.file))?;
            self.take(rows, pending, writer, loaded).await?;
            self.context.observer.advanced(&self.intake.table.to_string(), batch.batch.num_rows() as u64, bytes - bytes_before);
            bytes_before = bytes;
        }
        // A reader that ended by a panic has not come to the end of the file.
        let cut_short = |_| Error::new(ErrorKind::Internal, format!("`{}` could not be read to its end", pending.file.path));
        reader.await.map_err(cut_short)
    }

    async fn take(&self, rows: Assigned, pending: &Pending<'_>, writer: &mut TableWriter, loaded: &mut Loaded) -> Result<()> {
        loaded.read += rows.in_scope;
        if let Some(own) = rows.assigned {
            for feed in &loaded.feeds {
                feed.take(&own).await;
            }
            writer.write_assigned(&lake::table::conform(&own, writer.schema())?).await?;
        }
        if let Some(refused) = rows.refused {
            loaded.quarantined += refused.num_rows() as u64;
            if let Some(quarantine) = loaded.quarantine.as_mut().filter(|_| !pending.quarantined_before) {
                quarantine.write(&refused).await?;
            }
        }
        Ok(())
    }

    fn origin(&self, file: &SourceFile) -> Origin {
        Origin {
            source: file.path.clone(),
            ingested_at: self.context.started_at.timestamp_micros(),
            run_id: self.context.run_id.clone(),
        }
    }

    /// Reads a file on a thread of its own, a few batches ahead; each batch comes with the bytes read so far.
    async fn read(&self, file: &SourceFile, known: SchemaRef, stop: &CancellationToken) -> Result<(Batches, JoinHandle<()>)> {
        let mut options = self.intake.options_for(file, known);
        options.batch_bytes = options.batch_bytes.min(self.context.lake.engine().budget().source_batch());
        let input = self.intake.store.open(file, stop).await?;
        let name = file.path.clone();
        let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = match format::open(input, &options, &name) {
                Ok(reader) => reader,
                Err(error) => return drop(sender.blocking_send(Err(error))),
            };
            while let Some(next) = next_batch(reader.as_mut()) {
                if sender.blocking_send(next).is_err() {
                    return;
                }
            }
        });
        Ok((receiver, reading))
    }

    async fn commit(&self, loaded: Loaded, pending: &[Pending<'_>]) -> Result<Committed> {
        let old = crate::schema::without_workspace(self.bronze.schema());
        let all = crate::schema::extended(&old, &bronze_schema(&settle(&loaded.raw)));
        let schema = (all.fields() != old.fields()).then_some(SchemaChange { schema: all, stats_columns: None });
        let transactions = self.transactions(pending);
        let change = Change {
            adds: loaded.adds,
            removes: HashSet::new(),
            transactions,
            schema,
            basis: Basis::Nothing,
            ..Default::default()
        };
        self.bronze.commit(change, Strategy::Append, &self.context.run_id).await
    }

    fn transactions(&self, pending: &[Pending<'_>]) -> Vec<Transaction> {
        let key = |file: &SourceFile| match &self.context.scope {
            Scope::Feed => feed_key(file),
            Scope::Workspace(w) => own_key(file, w.as_str()),
        };
        pending.iter().map(|p| Transaction::new(key(p.file), p.file.fingerprint)).collect()
    }
}

/// Where the rows of a file come from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) source: String,
    /// Microseconds since 1970, UTC.
    pub(crate) ingested_at: i64,
    pub(crate) run_id: String,
}

fn next_batch(reader: &mut dyn BatchReader) -> Option<Result<(RawBatch, u64)>> {
    reader.next_batch().transpose().map(|next| next.map(|batch| (batch, reader.bytes_read())))
}

/// The columns whose shape is known; the others are not written until it is.
fn known(raw: &Schema) -> Schema {
    Schema::new(raw.fields().iter().filter(|f| f.data_type() != &DataType::Null).cloned().collect::<Vec<_>>())
}

/// Whether a run of the feed has read the file as it is now.
pub(crate) fn is_loaded(file: &SourceFile, progress: &Progress) -> bool {
    progress.get(&feed_key(file)) == Some(file.fingerprint)
}

/// Whether the rows of `scope` have been read from the file as it is now.
pub(crate) fn is_loaded_in(file: &SourceFile, progress: &Progress, scope: &Scope) -> bool {
    let own = match scope {
        Scope::Feed => None,
        Scope::Workspace(w) => progress.get(&own_key(file, w.as_str())),
    };
    is_loaded(file, progress) || own == Some(file.fingerprint)
}

/// The transaction of a file that a feed's run has read; `@` cannot be in the encoded path.
fn feed_key(file: &SourceFile) -> String {
    format!("file:{}", file.path.replace('%', "%25").replace('@', "%40"))
}

/// The transaction of a file whose rows of one workspace were read.
fn own_key(file: &SourceFile, workspace: &str) -> String {
    format!("{}@{workspace}", feed_key(file))
}

/// For each file, the workspaces that have a record of their own.
fn own_records(progress: &Progress) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in progress.names().filter(|n| n.starts_with("file:")) {
        if let Some((file, workspace)) = name.split_once('@') {
            owners.entry(file).or_default().insert(workspace);
        }
    }
    owners
}
