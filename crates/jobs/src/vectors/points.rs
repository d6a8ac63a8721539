//! Rows of texts to rows of points: cut, embedded, and handed to the merge.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, ListArray, RecordBatch, StringArray, UInt32Array, UInt64Array,
    new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int32Type, SchemaRef};
use lake::embed::{Chunking, Embedder, chunks};
use lake::merge::{ARRIVAL_COLUMN, Candidates, DELETE_COLUMN, MergeSpec};
use lake::pipeline::CompiledVectors;
use lake::vectors::point_id;
use lake::{Error, ErrorKind, Result, WORKSPACE_COLUMN};
use sha2::{Digest, Sha256};

use super::cache::EmbeddingCache;
use crate::context::JobContext;
use crate::sinks::{internal, texts};

/// Changes when points are identified otherwise than before.
pub(crate) const VERSION: &str = "points.v1";

/// The column with the number of chunks that the table has of a row.
pub(crate) const OLD_CHUNKS: &str = "__old_chunks";

/// Chunks that are embedded at a time.
const EMBEDDED_AT_ONCE: usize = 1024;

/// What a writer has seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    /// Rows to embed.
    pub(crate) rows: u64,
    /// Rows without a text.
    pub(crate) empty: u64,
}

/// Makes points of rows.
pub(crate) struct PointWriter<'a> {
    table: &'a CompiledVectors,
    embedder: &'a dyn Embedder,
    chunking: Option<Chunking>,
    candidates: Candidates,
    schema: SchemaRef,
    cache: Option<EmbeddingCache<'a>>,
    dimensions: usize,
    arrived: u64,
    counted: Counted,
}

/// A chunk of a row of a batch.
struct Chunk {
    row: u32,
    chunk: i32,
    chunks: i32,
    text: String,
}

impl<'a> PointWriter<'a> {
    pub(crate) async fn new(
        context: &'a JobContext,
        table: &'a CompiledVectors,
        embedder: &'a dyn Embedder,
        candidates: Candidates,
        spec: &MergeSpec,
    ) -> Result<Self> {
        let cache = match embedder.is_costly() {
            true => Some(EmbeddingCache::open(context, &embedder.name()).await?),
            false => None,
        };
        let dimensions = embedder.dimensions().await?;
        let counted = Counted::default();
        let (chunking, schema) = (table.chunking, spec.candidates());
        Ok(Self { table, embedder, chunking, candidates, schema, cache, dimensions, arrived: 0, counted })
    }

    /// Rows that are new or have changed.
    pub(crate) async fn upsert(&mut self, rows: &RecordBatch) -> Result<()> {
        let bodies = texts(rows, "text")?;
        let mut waiting: Vec<Chunk> = vec![];
        let mut counts = vec![];
        for row in 0..rows.num_rows() {
            let cut = chunks(bodies.value(row), self.chunking.as_ref(), self.embedder)?;
            self.counted.rows += 1;
            self.counted.empty += u64::from(cut.is_empty());
            let count = i32::try_from(cut.len()).map_err(|_| internal("a text has too many chunks"))?;
            counts.push(count);
            for (chunk, text) in (0..).zip(cut) {
                let row = u32::try_from(row).unwrap_or_default();
                waiting.push(Chunk { row, chunk, chunks: count, text: text.to_owned() });
                if waiting.len() >= EMBEDDED_AT_ONCE {
                    self.embed(rows, std::mem::take(&mut waiting)).await?;
                }
            }
        }
        self.embed(rows, waiting).await?;
        self.remove(rows, |row| counts.get(row).copied().unwrap_or_default())
    }

    /// Rows that are no more.
    pub(crate) fn delete(&mut self, rows: &RecordBatch) -> Result<()> {
        self.remove(rows, |_| 0)
    }

    pub(crate) fn counted(&self) -> Counted {
        self.counted
    }

    /// All candidates; what was embedded is kept.
    pub(crate) async fn finish(self) -> Result<Candidates> {
        if let Some(cache) = self.cache {
            cache.finish().await?;
        }
        Ok(self.candidates)
    }

    async fn embed(&mut self, rows: &RecordBatch, chunks: Vec<Chunk>) -> Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        let workspaces = texts(rows, WORKSPACE_COLUMN)?;
        let owner = |chunk: &Chunk| workspaces.value(chunk.row as usize);
        let hashed: Vec<(String, String)> = chunks.iter().map(|c| (owner(c).to_owned(), text_hash(&c.text))).collect();
        let mut known: HashMap<(String, String), Arc<[f32]>> = match &self.cache {
            Some(cache) => cache.find(&hashed).await?,
            None => HashMap::new(),
        };
        let mut asked: Vec<(&(String, String), &str)> = vec![];
        for (at, chunk) in hashed.iter().zip(&chunks) {
            if !known.contains_key(at) && !asked.iter().any(|(other, _)| *other == at) {
                asked.push((at, chunk.text.as_str()));
            }
        }
        // The same text of two workspaces is sent once, and kept for each.
        let mut texts: Vec<String> = asked.iter().map(|(_, text)| (*text).to_owned()).collect();
        texts.sort_unstable();
        texts.dedup();
        let vectors = if texts.is_empty() { vec![] } else { self.embedder.embed(&texts).await? };
        if vectors.len() != texts.len() {
            return Err(internal("the embedder gave another number of vectors than texts"));
        }
        for (at, text) in asked {
            let vector = texts.binary_search_by(|t| t.as_str().cmp(text)).ok().and_then(|place| vectors.get(place));
            let vector = vector.ok_or_else(|| internal("a text was not embedded"))?;
            if vector.len() != self.dimensions {
                let message = format!("the embedder gave a vector of {} numbers instead of {}", vector.len(), self.dimensions);
                return Err(Error::new(ErrorKind::Data, message));
            }
            let vector: Arc<[f32]> = vector.as_slice().into();
            if let Some(cache) = &mut self.cache {
                cache.keep(&at.0, &at.1, &vector).await?;
            }
            known.insert(at.clone(), vector);
        }
        let vectors: Vec<Arc<[f32]>> = hashed.iter().filter_map(|at| known.get(at).cloned()).collect();
        let points = self.points(rows, &chunks, &vectors)?;
        self.candidates.push(&points)
    }

    /// Candidates that upsert.
    fn points(&mut self, rows: &RecordBatch, chunks: &[Chunk], vectors: &[Arc<[f32]>]) -> Result<RecordBatch> {
        let picked = UInt32Array::from_iter_values(chunks.iter().map(|c| c.row));
        let (workspaces, keys) = (texts(rows, WORKSPACE_COLUMN)?, texts(rows, "row_key")?);
        let name = self.table.name.to_string();
        let ids = chunks.iter().map(|c| {
            let row = c.row as usize;
            point_id(workspaces.value(row), &name, keys.value(row), c.chunk).to_string()
        });
        let ids = StringArray::from_iter_values(ids);
        let arrivals = self.arrivals(chunks.len());
        let column = |field: &Field| -> Result<ArrayRef> {
            Ok(match field.name().as_str() {
                "point_id" => Arc::new(ids.clone()),
                "chunk" => Arc::new(Int32Array::from_iter_values(chunks.iter().map(|c| c.chunk))),
                "chunks" => Arc::new(Int32Array::from_iter_values(chunks.iter().map(|c| c.chunks))),
                "text" => Arc::new(StringArray::from_iter_values(chunks.iter().map(|c| c.text.as_str()))),
                "embedding" => lists(field, vectors)?,
                DELETE_COLUMN => Arc::new(BooleanArray::from(vec![false; chunks.len()])),
                ARRIVAL_COLUMN => Arc::new(arrivals.clone()),
                other => {
                    let values = rows.column_by_name(other).ok_or_else(|| internal("a column is missing"))?;
                    take(values, &picked, None).map_err(|e| internal("cannot pick rows").with_source(e))?
                }
            })
        };
        let columns = self.schema.fields().iter().map(|f| column(f)).collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|e| internal("cannot make points").with_source(e))
    }

    /// Candidates that delete the chunks that a row has no more: from `kept` of the row on.
    fn remove(&mut self, rows: &RecordBatch, kept: impl Fn(usize) -> i32) -> Result<()> {
        let old = rows.column_by_name(OLD_CHUNKS).and_then(|c| c.as_primitive_opt::<Int32Type>().cloned());
        let old = old.ok_or_else(|| internal("the number of chunks is missing"))?;
        let (workspaces, keys) = (texts(rows, WORKSPACE_COLUMN)?, texts(rows, "row_key")?);
        let name = self.table.name.to_string();
        let (mut ids, mut owners) = (vec![], vec![]);
        for row in (0..rows.num_rows()).filter(|row| old.is_valid(*row)) {
            for chunk in kept(row)..old.value(row) {
                ids.push(point_id(workspaces.value(row), &name, keys.value(row), chunk).to_string());
                owners.push(workspaces.value(row));
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        let arrivals = self.arrivals(ids.len());
        let column = |field: &Field| -> ArrayRef {
            match field.name().as_str() {
                "point_id" => Arc::new(StringArray::from_iter_values(&ids)),
                WORKSPACE_COLUMN => Arc::new(StringArray::from_iter_values(&owners)),
                DELETE_COLUMN => Arc::new(BooleanArray::from(vec![true; ids.len()])),
                ARRIVAL_COLUMN => Arc::new(arrivals.clone()),
                _ => new_null_array(field.data_type(), ids.len()),
            }
        };
        let columns = self.schema.fields().iter().map(|f| column(f)).collect();
        let batch =
            RecordBatch::try_new(self.schema.clone(), columns).map_err(|e| internal("cannot delete points").with_source(e))?;
        self.candidates.push(&batch)
    }

    fn arrivals(&mut self, count: usize) -> UInt64Array {
        let first = self.arrived;
        self.arrived += count as u64;
        UInt64Array::from_iter_values(first..self.arrived)
    }
}

/// What a text is known by in the cache.
fn text_hash(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Vectors as a column of lists.
pub(super) fn lists(field: &Field, vectors: &[Arc<[f32]>]) -> Result<ArrayRef> {
    let DataType::List(item) = field.data_type() else { return Err(internal("vectors are no lists")) };
    let values = arrow::array::Float32Array::from_iter_values(vectors.iter().flat_map(|v| v.iter().copied()));
    let offsets = OffsetBuffer::from_lengths(vectors.iter().map(|v| v.len()));
    let lists = ListArray::try_new(item.clone(), offsets, Arc::new(values), None);
    Ok(Arc::new(lists.map_err(|e| internal("cannot make lists").with_source(e))?))
}
