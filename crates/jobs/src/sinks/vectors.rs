//! A collection of a vector store, kept equal to a vector table.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{StreamExt, TryStreamExt};
use lake::pipeline::CompiledVectors;
use lake::sink::Mark;
use lake::table::{At, Scope, Snapshot};
use lake::vectors::{Collection, Point, VectorStore, collection, payload_document, payload_fields};
use lake::{Error, ErrorKind, Lake, Result, WORKSPACE_COLUMN, WorkspaceId};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::compare::{Difference, differences, internal, parted, texts};
use super::{SENT_AT_ONCE, SYNCS, Sent, by_workspace, overtaken};
use crate::context::JobContext;
use crate::vectors::{failed, generation, unqualified};

/// A vector table and the store that mirrors it.
pub(crate) struct VectorSink<'a> {
    lake: &'a Lake,
    table: &'a CompiledVectors,
    store: &'a dyn VectorStore,
    collection: Collection,
    generation: i64,
}

impl<'a> VectorSink<'a> {
    pub(crate) async fn new(
        lake: &'a Lake,
        table: &'a CompiledVectors,
        embedder: &dyn lake::embed::Embedder,
        store: &'a dyn VectorStore,
    ) -> Result<Self> {
        let generation = generation(table, embedder).await?;
        let payload = payload_fields(&crate::vectors::schema(table));
        let name = format!("{}{}", store.prefix(), table.name.name);
        let collection = collection(&name, generation, embedder.dimensions().await?, payload);
        Ok(Self { lake, table, store, collection, generation })
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.lake.snapshot(&self.table.name, At::Latest).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("`{}` does not exist", self.table.name)).with_hint("run the pipeline first")
        })
    }

    /// The version of the source that the vector table is true for.
    pub(crate) async fn source_version(&self, scope: &Scope) -> Result<Option<i64>> {
        let input = self.table.input.to_string();
        let marks = self.snapshot().await?.progress().await?.in_scope(scope, std::slice::from_ref(&input));
        Ok(marks.inputs.get(&input).copied())
    }

    /// Sends what changed since the store has acknowledged the table last.
    pub(crate) async fn sync(&self, context: &JobContext) -> Result<Sent> {
        let (mut lowest, mut all) = (None, Sent::default());
        for _ in 0..SYNCS {
            let (sent, again) = self.sync_once(context, &mut lowest).await?;
            all += sent;
            if !again {
                return Ok(all);
            }
        }
        Err(overtaken(&self.table.name.to_string()))
    }

    /// As [`VectorSink::sync`], from the lowest version of all tries on; gives whether another run wrote to the store meanwhile, so that what this one
    /// wrote may be older.
    async fn sync_once(&self, context: &JobContext, lowest: &mut Option<Option<i64>>) -> Result<(Sent, bool)> {
        let (table, scope) = (self.snapshot().await?, &context.scope);
        let mark = Mark::new(&self.store.describe(), &format!("{}-{}", self.collection.name, self.collection.generation));
        let was_there = self.store.prepare(&self.collection).await?;
        let acknowledged = mark.get(&table.progress().await?, scope).filter(|_| was_there);
        let since = lowest.map_or(acknowledged, |lowest| lowest.min(acknowledged));
        *lowest = Some(since);
        let followed = match since {
            Some(since) => table.follow(since, scope).await?,
            None => None,
        };
        let session = self.lake.engine().scratch_session();
        let sent = match followed {
            Some(followed) if followed.is_empty() => return Ok((Sent::default(), false)),
            Some(followed) => {
                let steps = followed.steps(&session, &["point_id"], "hash", Ok)?;
                let mut sent = self.upsert(context, steps.upserts).await?;
                sent += self.delete(context, steps.deletes).await?;
                sent
            }
            None if !was_there => {
                let all = session.read_table(table.provider(scope).await?).map_err(failed)?;
                self.upsert(context, all).await?
            }
            None => {
                let mut sent = Sent::default();
                for workspace in self.workspaces(&table, scope).await? {
                    let found = self.compare(&session, &table, &workspace).await?;
                    sent += self.repair(context, &session, &table, &workspace, found).await?;
                }
                sent
            }
        };
        self.publish(&table).await?;
        match mark.advance(&table, scope, &context.run_id).await {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok((sent, true)),
            done => done.map(|()| (sent, false)),
        }
    }

    /// What the store holds of the table.
    pub(crate) fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Lets searches go to this generation when every workspace of the table is of it.
    pub(crate) async fn publish(&self, table: &Snapshot) -> Result<()> {
        if self.is_whole(table).await? { self.store.publish(&self.collection).await } else { Ok(()) }
    }

    /// Whether all workspaces of the table are of this generation, so that searches can go to it.
    async fn is_whole(&self, table: &Snapshot) -> Result<bool> {
        let progress = table.progress().await?;
        let workspaces = table.files(&Scope::Feed)?.into_iter().filter_map(|f| f.workspace);
        let current = |w: &str| progress.of(w, &[]).definition == Some(self.generation);
        Ok(workspaces.collect::<std::collections::BTreeSet<_>>().iter().all(|w| current(w)))
    }

    /// The workspaces in scope that the table or the store has points of.
    pub(crate) async fn workspaces(&self, table: &Snapshot, scope: &Scope) -> Result<Vec<WorkspaceId>> {
        if let Scope::Workspace(own) = scope {
            return Ok(vec![own.clone()]);
        }
        let mut all: std::collections::BTreeSet<String> = table.files(scope)?.into_iter().filter_map(|f| f.workspace).collect();
        all.extend(self.store.workspaces(&self.collection).await?.iter().map(ToString::to_string));
        all.iter().map(WorkspaceId::new).collect()
    }

    async fn upsert(&self, context: &JobContext, rows: DataFrame) -> Result<Sent> {
        let fields = self.collection.payload.iter().map(|f| f.name.as_str()).chain(["text", "row_key", "chunk"]);
        let mut columns: Vec<_> = ["point_id", WORKSPACE_COLUMN, "embedding", "hash"].map(unqualified).to_vec();
        columns.push(payload_document(fields));
        let mut stream = rows.select(columns).map_err(failed)?.execute_stream().await.map_err(failed)?;
        let mut sent = Sent::default();
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            for start in (0..batch.num_rows()).step_by(SENT_AT_ONCE) {
                context.check_cancelled()?;
                let part = batch.slice(start, SENT_AT_ONCE.min(batch.num_rows() - start));
                let points = points(&part)?;
                sent.upserted += points.len() as u64;
                self.store.upsert(&self.collection, points).await?;
            }
        }
        Ok(sent)
    }

    async fn delete(&self, context: &JobContext, rows: DataFrame) -> Result<Sent> {
        let columns = vec![unqualified(WORKSPACE_COLUMN), unqualified("point_id")];
        let mut stream = rows.select(columns).map_err(failed)?.execute_stream().await.map_err(failed)?;
        let mut sent = Sent::default();
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            context.check_cancelled()?;
            let (workspaces, ids) = (texts(&batch, WORKSPACE_COLUMN)?, texts(&batch, "point_id")?);
            let pairs = (0..batch.num_rows()).map(|row| Ok((workspaces.value(row).to_owned(), id(ids.value(row))?)));
            for (workspace, ids) in by_workspace(pairs.collect::<Result<Vec<_>>>()?)? {
                self.store.delete(&self.collection, &workspace, &ids).await?;
                sent.deleted += ids.len() as u64;
            }
        }
        Ok(sent)
    }

    /// Every difference between what the table and the store have of a workspace.
    pub(crate) async fn compare(
        &self,
        session: &SessionContext,
        table: &Snapshot,
        workspace: &WorkspaceId,
    ) -> Result<Vec<Difference<Uuid>>> {
        let scope = Scope::Workspace(workspace.clone());
        let rows = session.read_table(table.provider(&scope).await?).map_err(failed)?;
        let rows = rows
            .select(vec![unqualified("point_id"), unqualified("hash")])
            .and_then(|r| r.sort(vec![unqualified("point_id").sort(true, false)]))
            .map_err(failed)?;
        let stored = self.store.list(&self.collection, workspace).await?.map_ok(|s| (s.id, s.hash)).boxed();
        differences(rows, stored, "hash", |batch, row| id(texts(batch, "point_id")?.value(row))).await
    }

    /// Makes the store as the table is.
    pub(crate) async fn repair(
        &self,
        context: &JobContext,
        session: &SessionContext,
        table: &Snapshot,
        workspace: &WorkspaceId,
        found: Vec<Difference<Uuid>>,
    ) -> Result<Sent> {
        let (wanted, extra) = parted(found);
        let mut sent = Sent::default();
        let scope = Scope::Workspace(workspace.clone());
        for some in wanted.chunks(SENT_AT_ONCE) {
            let ids = some.iter().map(|id| datafusion::prelude::lit(id.to_string())).collect();
            let rows = session.read_table(table.provider(&scope).await?).map_err(failed)?;
            let rows = rows.filter(unqualified("point_id").in_list(ids, false)).map_err(failed)?;
            sent += self.upsert(context, rows).await?;
        }
        for some in extra.chunks(SENT_AT_ONCE) {
            self.store.delete(&self.collection, workspace, some).await?;
            sent.deleted += some.len() as u64;
        }
        Ok(sent)
    }
}

fn points(batch: &RecordBatch) -> Result<Vec<Point>> {
    let (ids, workspaces) = (texts(batch, "point_id")?, texts(batch, WORKSPACE_COLUMN)?);
    let (hashes, payloads) = (texts(batch, "hash")?, texts(batch, "payload")?);
    let vectors =
        batch.column_by_name("embedding").and_then(|c| c.as_list_opt::<i32>()).ok_or_else(|| internal("vectors are no lists"))?;
    let mut points = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let values = vectors.value(row);
        let values = values.as_primitive_opt::<Float32Type>().ok_or_else(|| internal("vectors are no numbers"))?;
        let payload: Map<String, Value> =
            serde_json::from_str(payloads.value(row)).map_err(|e| internal("a payload is no JSON").with_source(e))?;
        points.push(Point {
            id: id(ids.value(row))?,
            workspace: WorkspaceId::new(workspaces.value(row))?,
            vector: values.values().to_vec(),
            payload,
            hash: hashes.value(row).to_owned(),
        });
    }
    Ok(points)
}

fn id(text: &str) -> Result<Uuid> {
    Uuid::parse_str(text).map_err(|e| internal("a point has no id").with_source(e))
}
