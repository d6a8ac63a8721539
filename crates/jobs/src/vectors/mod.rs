//! Vectors: brings a table of texts and their vectors up to date with the table it follows, embedding what is new only.

mod cache;
mod points;

use std::sync::Arc;

use datafusion::common::{Column, JoinType};
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{DataFrame, SessionContext, cast, col, lit};
use futures::TryStreamExt;
use lake::embed::{Embedder, chunk};
use lake::merge::{Candidates, MergeOutcome, MergeSpec, Sequence, merge_candidates};
use lake::pipeline::CompiledVectors;
use lake::report::{Strategy, TableReport, TableStatus};
use lake::table::{At, Change, Progress, SchemaChange, Scope, Snapshot, Steps, Watermarks, fingerprint, steps};
use lake::vectors::{Made, vector_schema};
use lake::{Error, ErrorKind, Result, WORKSPACE_COLUMN, query_error, to_json};

use self::points::PointWriter;
use crate::context::JobContext;
use crate::schema::{widened, without_workspace};

/// Brings one vector table up to date.
///
/// # Errors
/// Those of the embedder and of storage; [`ErrorKind::Data`] when two rows have the same id. The table is then as it was.
pub async fn vectorize(
    context: &JobContext,
    table: &CompiledVectors,
    embedder: &Arc<dyn Embedder>,
    description: Option<&str>,
) -> Result<TableReport> {
    context.until_committed(&table.name, || async { Job::open(context, table, embedder, description).await?.run().await }).await
}

/// What the rows of a vector table are made by: its definition and the embedder.
///
/// # Errors
/// Those of the embedder.
pub(crate) async fn generation(table: &CompiledVectors, embedder: &dyn Embedder) -> Result<i64> {
    let (definition, dimensions) = (table.fingerprint.to_string(), embedder.dimensions().await?.to_string());
    let cutting = chunk::VERSION.to_string();
    Ok(fingerprint([definition.as_str(), &embedder.name(), &dimensions, &cutting, points::VERSION]))
}

struct Job<'a> {
    context: &'a JobContext,
    table: &'a CompiledVectors,
    embedder: &'a Arc<dyn Embedder>,
    generation: i64,
    source: Snapshot,
    target: Snapshot,
    existed: bool,
    progress: Progress,
}

/// What has to be done, and how it was found out.
struct Work {
    steps: Steps,
    rebuild: bool,
    reason: String,
}

impl<'a> Job<'a> {
    async fn open(
        context: &'a JobContext,
        table: &'a CompiledVectors,
        embedder: &'a Arc<dyn Embedder>,
        description: Option<&str>,
    ) -> Result<Self> {
        let lake = &context.lake;
        let generation = generation(table, embedder.as_ref()).await?;
        let existing = lake.snapshot(&table.name, At::Latest).await?;
        let existed = existing.is_some();
        let target = match existing {
            Some(target) => target,
            None => Snapshot::create(lake.root(), &table.name, &schema(table), &[], description).await?,
        };
        let progress = target.progress().await?;
        // The input is opened after the progress was read, so that it is never older than a watermark.
        let source = lake.snapshot(&table.input, At::Latest).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("`{}` follows `{}`, which does not exist", table.name, table.input))
                .with_hint(format!("run it first: `lake run --select +{}`", table.name))
        })?;
        Ok(Self { context, table, embedder, generation, source, target, existed, progress })
    }

    async fn run(&self) -> Result<TableReport> {
        let mut report = TableReport::new(self.table.name.to_string());
        report.version_from = self.existed.then(|| self.target.version());
        report.version_to = Some(self.target.version());
        let session = self.context.lake.engine().scratch_session();
        let Some(work) = self.work(&session, &mut report).await? else { return Ok(report) };
        let columns = schema(self.table);
        let spec = MergeSpec {
            columns: columns.clone(),
            key: vec!["point_id".into()],
            sequence: Sequence::Arrival,
            merge_on_read: false,
        };
        let engine = self.context.lake.engine();
        self.context.observer.started(&report.table, Some(report.bytes_read));
        let mut writer =
            PointWriter::new(self.context, self.table, self.embedder.as_ref(), Candidates::new(&spec, engine)?, &spec).await?;
        self.each(work.steps.upserts, &mut writer, Kind::Upsert).await?;
        self.each(work.steps.deletes, &mut writer, Kind::Delete).await?;
        let counted = writer.counted();
        let candidates = writer.finish().await?;
        let outcome = merge_candidates(engine, &spec, &self.target, None, candidates, &self.context.scope, work.rebuild).await?;
        if outcome.superseded > 0 {
            let message = format!("`{}` has rows of the same id: {} too many", self.table.input, outcome.superseded);
            return Err(Error::new(ErrorKind::Data, message).with_hint(format!(
                "name under `id:` of `{}` columns that tell all rows of a workspace apart",
                self.table.name
            )));
        }
        report.rows_read = outcome.written + outcome.deleted + counted.empty;
        report.rows_dropped = counted.empty;
        report.input_rows = Some(counted.rows);
        report.rows_written = outcome.written;
        report.rows_deleted = outcome.deleted;
        report.files_written = outcome.adds.len() as u64;
        report.bytes_written = outcome.bytes;
        report.strategy = Some(if work.rebuild { Strategy::Replace } else { outcome.strategy.unwrap_or(Strategy::Append) });
        report.reason = Some(work.reason);
        if work.rebuild {
            let (name, dimensions) = (self.embedder.name(), self.embedder.dimensions().await?);
            let made = Made { embedder: name, dimensions, source: self.table.input.to_string() };
            made.keep(&self.context.lake, &self.table.name, self.generation).await?;
        }
        let (version, resent) = self.commit(outcome, report.strategy.unwrap_or(Strategy::Append)).await?;
        report.status = TableStatus::Written;
        report.version_to = Some(version);
        report.commits_resent = resent;
        Ok(report)
    }

    /// What to do; `None` when the table is in step.
    async fn work(&self, session: &SessionContext, report: &mut TableReport) -> Result<Option<Work>> {
        let input = self.table.input.to_string();
        let names = std::slice::from_ref(&input);
        let scope = &self.context.scope;
        let mut marks = vec![self.progress.in_scope(scope, names)];
        if *scope == Scope::Feed {
            marks.extend(self.progress.own_workspaces().map(|w| self.progress.of(w, names)));
        }
        let outdated = marks.iter().any(|m| m.definition != Some(self.generation));
        let since = marks.iter().map(|m| m.inputs.get(&input).copied()).min().flatten();
        let whole = || async { self.projected(session.read_table(self.source.provider(scope).await?).map_err(failed)?) };
        let count = |report: &mut TableReport| -> Result<()> {
            let files = self.source.files(scope)?;
            (report.files_read, report.bytes_read) = (files.len() as u64, files.iter().map(|f| f.size).sum());
            Ok(())
        };
        if outdated || self.context.full_refresh || !self.existed {
            let reason = match (self.context.full_refresh, self.existed) {
                (_, false) => "the table did not exist",
                (true, true) => "a full refresh was asked for",
                (false, true) => "it was not made by this definition and embedder yet",
            };
            count(report)?;
            let upserts = self.with_old_chunks(whole().await?, session, true).await?;
            let none = upserts.clone().filter(lit(false)).map_err(failed)?;
            return Ok(Some(Work { steps: Steps { upserts, deletes: none }, rebuild: true, reason: reason.into() }));
        }
        if since == Some(self.source.version()) {
            return Ok(None);
        }
        let followed = match since {
            Some(since) => self.source.follow(since, scope).await?,
            None => None,
        };
        let (found, reason) = match &followed {
            Some(followed) if followed.is_empty() => return Ok(None),
            Some(followed) => {
                report.bytes_read = followed.bytes;
                (
                    followed.steps(session, &["row_key"], "hash", |rows| self.projected(rows))?,
                    "by the rows that changed".to_owned(),
                )
            }
            None => {
                count(report)?;
                let known = session.read_table(self.target.provider(scope).await?).map_err(failed)?;
                let columns = [WORKSPACE_COLUMN, "row_key", "hash"].map(unqualified);
                let known =
                    known.filter(unqualified("chunk").eq(lit(0))).and_then(|f| f.select(columns.to_vec())).map_err(failed)?;
                let group = [WORKSPACE_COLUMN, "row_key"];
                let reason = format!("part of the history of `{}` is gone: all rows were compared", self.table.input);
                (steps(whole().await?, known, &group, "hash")?, reason)
            }
        };
        let upserts = self.with_old_chunks(found.upserts, session, false).await?;
        let deletes = self.with_old_chunks(found.deletes, session, false).await?;
        Ok(Some(Work { steps: Steps { upserts, deletes }, rebuild: false, reason }))
    }

    /// Rows of the source as they concern this table: `row_key`, `text`, the payload, `hash`, `workspace_id`.
    fn projected(&self, rows: DataFrame) -> Result<DataFrame> {
        let rows = match &self.table.filter {
            Some(filter) => rows.filter(filter.clone()).map_err(failed)?,
            None => rows,
        };
        let key = match self.table.id.as_slice() {
            [one] => cast(unqualified(one), arrow::datatypes::DataType::Utf8),
            several => document(several.iter().map(|name| (name.as_str(), unqualified(name)))),
        };
        let payload = || self.table.payload.iter().map(|c| (c.name.as_str(), cast(c.expr.clone(), c.data_type.clone())));
        let text = cast(self.table.text.clone(), arrow::datatypes::DataType::Utf8);
        let mut columns = vec![key.alias("row_key"), text.clone().alias("text")];
        columns.extend(payload().map(|(name, value)| value.alias(name)));
        let all = document(std::iter::once(("text", text)).chain(payload()));
        let hash = datafusion::functions::crypto::expr_fn::md5(all);
        columns.push(cast(hash, arrow::datatypes::DataType::Utf8).alias("hash"));
        columns.push(unqualified(WORKSPACE_COLUMN));
        let rows = rows.select(columns).map_err(failed)?;
        rows.filter(unqualified("text").is_not_null().and(unqualified("row_key").is_not_null())).map_err(failed)
    }

    /// With the number of chunks that the table has of each row.
    async fn with_old_chunks(&self, rows: DataFrame, session: &SessionContext, none: bool) -> Result<DataFrame> {
        if none || self.table.chunking.is_none() {
            let old = i32::from(!none);
            return rows.with_column(points::OLD_CHUNKS, lit(old)).map_err(failed);
        }
        let known = session.read_table(self.target.provider(&self.context.scope).await?).map_err(failed)?;
        let columns = vec![
            unqualified(WORKSPACE_COLUMN).alias("__old_workspace"),
            unqualified("row_key").alias("__old_key"),
            unqualified("chunks").alias(points::OLD_CHUNKS),
        ];
        let known = known.filter(unqualified("chunk").eq(lit(0))).and_then(|f| f.select(columns)).map_err(failed)?;
        let joined = rows.join(known, JoinType::Left, &[WORKSPACE_COLUMN, "row_key"], &["__old_workspace", "__old_key"], None);
        joined.map_err(failed)
    }

    async fn each(&self, rows: DataFrame, writer: &mut PointWriter<'_>, kind: Kind) -> Result<()> {
        let mut stream = rows.execute_stream().await.map_err(failed)?;
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            self.context.check_cancelled()?;
            self.context.observer.advanced(&self.table.name.to_string(), batch.num_rows() as u64, 0);
            match kind {
                Kind::Upsert => writer.upsert(&batch).await?,
                Kind::Delete => writer.delete(&batch)?,
            }
        }
        Ok(())
    }

    async fn commit(&self, outcome: MergeOutcome, strategy: Strategy) -> Result<(i64, u32)> {
        let marks = Watermarks {
            definition: Some(self.generation),
            inputs: [(self.table.input.to_string(), self.source.version())].into(),
        };
        let (old, new) = (without_workspace(self.target.schema()), schema(self.table));
        let others = self.target.files(&Scope::Feed)?.into_iter().any(|f| !self.context.scope.holds(f.workspace.as_deref()));
        let new = if others { widened(&self.table.name, &old, &new)? } else { new };
        let schema =
            (new.fields() != old.fields()).then(|| SchemaChange { schema: new.as_ref().clone(), stats_columns: Some(vec![]) });
        let MergeOutcome { mut adds, marked, removes, moves, .. } = outcome;
        adds.extend(marked);
        let change = Change {
            adds,
            removes,
            transactions: self.progress.advance(&self.context.scope, &marks),
            schema,
            moves,
            basis: self.context.scope.basis(),
            deletion_vectors: false,
        };
        let committed = self.target.commit(change, strategy, &self.context.run_id).await?;
        Ok((committed.version, committed.resent))
    }
}

enum Kind {
    Upsert,
    Delete,
}

/// The columns of a vector table, without `workspace_id`.
pub(crate) fn schema(table: &CompiledVectors) -> arrow::datatypes::SchemaRef {
    let payload: Vec<_> = table.payload.iter().map(|c| (c.name.clone(), c.data_type.clone())).collect();
    vector_schema(&payload)
}

/// Named values as JSON text.
fn document<'n>(values: impl Iterator<Item = (&'n str, Expr)>) -> Expr {
    to_json().call(vec![named_struct(values.flat_map(|(name, value)| [lit(name), value]).collect())])
}

pub(crate) fn unqualified(name: &str) -> Expr {
    col(Column::new_unqualified(name))
}

pub(crate) fn failed(error: datafusion::common::DataFusionError) -> Error {
    query_error("cannot follow a table", error)
}
