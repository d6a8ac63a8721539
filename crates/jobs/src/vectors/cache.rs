//! Vectors by the text they were made of: a text that was embedded once is not embedded again by the same embedder.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use datafusion::prelude::lit;
use futures::TryStreamExt;
use lake::pipeline::{EMBEDDING_CACHE, Layer, TableName};
use lake::report::Strategy;
use lake::table::{At, Basis, Change, Snapshot, TableWriter, WriterOptions, with_workspace};
use lake::{ErrorKind, Result, WORKSPACE_COLUMN};

use super::points::lists;
use super::{failed, unqualified};
use crate::context::JobContext;
use crate::sinks::{internal, texts};

/// Vectors that are kept by one commit: what a crash can lose.
const KEPT_AT_ONCE: usize = 4096;

/// Tries to create the table, which other jobs may do at the same time.
const TRIES: u32 = 5;

/// The table of vectors by text, as one job sees it.
pub(crate) struct EmbeddingCache<'a> {
    context: &'a JobContext,
    table: Snapshot,
    model: String,
    /// Hashes of what is in the table for this model: what is not among them needs no look.
    there: HashSet<u64>,
    waiting: Vec<(String, String, Arc<[f32]>)>,
}

fn name() -> TableName {
    TableName::new(Layer::Vectors, EMBEDDING_CACHE)
}

fn columns() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let item = Arc::new(Field::new("element", DataType::Float32, true));
    Arc::new(Schema::new(vec![text("text_hash"), text("model"), Field::new("embedding", DataType::List(item), true)]))
}

impl<'a> EmbeddingCache<'a> {
    /// The vectors that `model` made.
    pub(crate) async fn open(context: &'a JobContext, model: &str) -> Result<Self> {
        let table = create(context).await?;
        let session = context.lake.engine().scratch_session();
        let rows = session.read_table(table.provider(&context.scope).await?).map_err(failed)?;
        let columns = vec![unqualified(WORKSPACE_COLUMN), unqualified("text_hash")];
        let rows = rows.filter(unqualified("model").eq(lit(model))).and_then(|r| r.select(columns)).map_err(failed)?;
        let mut stream = rows.execute_stream().await.map_err(failed)?;
        let mut there = HashSet::new();
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            let (workspaces, hashes) = (texts(&batch, WORKSPACE_COLUMN)?, texts(&batch, "text_hash")?);
            let pairs = workspaces.iter().zip(hashes.iter());
            there.extend(pairs.filter_map(|(w, h)| Some(pair(w?, h?))));
        }
        Ok(Self { context, table, model: model.to_owned(), there, waiting: vec![] })
    }

    /// Those of the texts that are known, by workspace and hash.
    pub(crate) async fn find(&self, asked: &[(String, String)]) -> Result<HashMap<(String, String), Arc<[f32]>>> {
        let wanted: HashSet<&(String, String)> = asked.iter().filter(|(w, h)| self.there.contains(&pair(w, h))).collect();
        let mut found = HashMap::new();
        for (workspace, hash, vector) in &self.waiting {
            found.insert((workspace.clone(), hash.clone()), vector.clone());
        }
        found.retain(|at, _| asked.contains(at));
        if wanted.is_empty() {
            return Ok(found);
        }
        let session = self.context.lake.engine().scratch_session();
        let rows = session.read_table(self.table.provider(&self.context.scope).await?).map_err(failed)?;
        let hashes: HashSet<&str> = wanted.iter().map(|(_, hash)| hash.as_str()).collect();
        let among = unqualified("text_hash").in_list(hashes.into_iter().map(lit).collect(), false);
        let columns = vec![unqualified(WORKSPACE_COLUMN), unqualified("text_hash"), unqualified("embedding")];
        let rows = rows.filter(unqualified("model").eq(lit(self.model.as_str())).and(among)).and_then(|r| r.select(columns));
        let mut stream = rows.map_err(failed)?.execute_stream().await.map_err(failed)?;
        while let Some(batch) = stream.try_next().await.map_err(failed)? {
            let (workspaces, hashes) = (texts(&batch, WORKSPACE_COLUMN)?, texts(&batch, "text_hash")?);
            let vectors = batch.column_by_name("embedding").and_then(|c| c.as_list_opt::<i32>());
            let vectors = vectors.ok_or_else(|| internal("the cache has no vectors"))?;
            for row in 0..batch.num_rows() {
                let at = (workspaces.value(row).to_owned(), hashes.value(row).to_owned());
                if wanted.contains(&at) && vectors.is_valid(row) {
                    let values = vectors.value(row);
                    let values = values.as_primitive_opt::<Float32Type>().ok_or_else(|| internal("vectors are no numbers"))?;
                    found.insert(at, values.values().as_ref().into());
                }
            }
        }
        Ok(found)
    }

    /// Keeps the vector of a text.
    pub(crate) async fn keep(&mut self, workspace: &str, hash: &str, vector: &Arc<[f32]>) -> Result<()> {
        self.waiting.push((workspace.to_owned(), hash.to_owned(), vector.clone()));
        if self.waiting.len() >= KEPT_AT_ONCE { self.flush().await } else { Ok(()) }
    }

    /// Keeps what is waiting.
    pub(crate) async fn finish(mut self) -> Result<()> {
        self.flush().await
    }

    async fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut self.waiting);
        let schema = with_workspace(&columns());
        let vectors: Vec<Arc<[f32]>> = kept.iter().map(|(.., vector)| vector.clone()).collect();
        let embedding = schema.field_with_name("embedding").map_err(|e| internal("the cache has no vectors").with_source(e))?;
        let batch = RecordBatch::try_new(
            schema.clone(),
            vec![
                Arc::new(StringArray::from_iter_values(kept.iter().map(|(_, hash, _)| hash))),
                Arc::new(StringArray::from_iter_values(kept.iter().map(|_| &self.model))),
                lists(embedding, &vectors)?,
                Arc::new(StringArray::from_iter_values(kept.iter().map(|(workspace, ..)| workspace))),
            ],
        );
        let batch = batch.map_err(|e| internal("cannot keep vectors").with_source(e))?;
        let mut writer = TableWriter::new(&self.table, schema, WriterOptions::of(self.context.lake.engine()));
        writer.write(&batch).await?;
        let change = Change { adds: writer.finish().await?, basis: Basis::Nothing, ..Default::default() };
        self.table.commit(change, Strategy::Append, &self.context.run_id).await?;
        self.table = create(self.context).await?;
        self.there.extend(kept.iter().map(|(workspace, hash, _)| pair(workspace, hash)));
        Ok(())
    }
}

fn pair(workspace: &str, hash: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (workspace, hash).hash(&mut hasher);
    hasher.finish()
}

/// The table, made now if it is not there.
async fn create(context: &JobContext) -> Result<Snapshot> {
    let text = "Vectors by the text they were made of, so that no text is embedded twice";
    for _ in 0..TRIES {
        if let Some(table) = context.lake.snapshot(&name(), At::Latest).await? {
            return Ok(table);
        }
        match Snapshot::create(context.lake.root(), &name(), &columns(), &[], Some(text)).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            made => return made,
        }
    }
    Err(lake::Error::new(ErrorKind::Conflict, "other writers make the table of embeddings"))
}
