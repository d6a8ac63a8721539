//! Vector tables: the columns of the Delta tables that hold texts with their vectors, and exact search in them.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::prelude::{DataFrame, col};
use futures::TryStreamExt;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::condition::Condition;
use super::store::{Collection, FieldKind, Hit, PayloadField};
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::VECTOR_COLUMNS;
use crate::query_error::query_error;
use crate::workspace::Workspace;
use crate::workspace_id::WORKSPACE_COLUMN;

/// What ids of points are made in: a namespace of UUIDs.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c61_6b65_0000_5000_8000_7665_6374_6f72);

/// The columns of a vector table with this payload, without `workspace_id`.
pub fn vector_schema(payload: &[(String, DataType)]) -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let number = |name: &str| Field::new(name, DataType::Int32, true);
    let mut fields = vec![text("point_id"), text("row_key"), number("chunk"), number("chunks"), text("text")];
    fields.extend(payload.iter().map(|(name, data_type)| Field::new(name, data_type.clone(), true)));
    let item = Arc::new(Field::new("element", DataType::Float32, true));
    fields.extend([Field::new("embedding", DataType::List(item), true), text("hash")]);
    Arc::new(Schema::new(fields))
}

/// The id of a point: the same for the same workspace, table, key and chunk.
pub fn point_id(workspace: &str, table: &str, row_key: &str, chunk: i32) -> Uuid {
    let mut name = Vec::with_capacity(workspace.len() + table.len() + row_key.len() + 28);
    for part in [workspace, table, row_key] {
        // The length keeps `a, bc` apart from `ab, c`.
        name.extend((part.len() as u64).to_be_bytes());
        name.extend(part.as_bytes());
    }
    name.extend(chunk.to_be_bytes());
    Uuid::new_v5(&NAMESPACE, &name)
}

/// The payload of the points of a vector table with the columns `schema`.
pub fn payload_fields(schema: &Schema) -> Vec<PayloadField> {
    let own = |f: &&Arc<Field>| f.name() != WORKSPACE_COLUMN && !VECTOR_COLUMNS.contains(&f.name().as_str());
    let kind = |data_type: &DataType| match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => FieldKind::Keyword,
        t if t.is_integer() => FieldKind::Integer,
        t if t.is_floating() => FieldKind::Float,
        DataType::Boolean => FieldKind::Bool,
        DataType::Timestamp(..) | DataType::Date32 => FieldKind::Datetime,
        _ => FieldKind::Other,
    };
    let fields = schema.fields().iter().filter(own);
    fields.map(|f| PayloadField { name: f.name().clone(), kind: kind(f.data_type()) }).collect()
}

/// The collection that mirrors the vector table `name` as it is made by the definition `generation`.
pub fn collection(name: &str, generation: i64, dimensions: usize, payload: Vec<PayloadField>) -> Collection {
    Collection { name: name.to_owned(), generation: format!("{generation:016x}"), dimensions, payload }
}

/// What a search found, and what it is true for.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The nearest first.
    pub hits: Vec<Hit>,
    /// The version of the vector table that was searched.
    pub version: i64,
}

impl Workspace {
    /// The rows of the vector table `name` nearest to `vector`, compared with every one of this workspace.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such table; those of the query.
    pub async fn nearest(&self, name: &str, vector: &[f32], condition: Option<&Condition>, limit: usize) -> Result<Found> {
        let table = self.table(name).await?;
        let mut frame = table.dataframe().await?;
        if let Some(condition) = condition {
            frame = frame.filter(condition.to_expr()).map_err(failed)?;
        }
        let best = scores(&frame, vector, limit).await?;
        let ids: Vec<_> = best.iter().map(|s| datafusion::prelude::lit(s.id.clone())).collect();
        let mut hits = vec![];
        if !ids.is_empty() {
            let fields: Vec<_> = payload_fields(table.schema());
            let names = fields.iter().map(|f| f.name.as_str()).chain(["text", "row_key", "chunk"]);
            let document = payload_document(names);
            let rows = frame
                .filter(unqualified("point_id").in_list(ids, false))
                .and_then(|f| f.select(vec![unqualified("point_id").alias("point_id"), document]))
                .map_err(failed)?;
            let payloads = payloads(rows).await?;
            for scored in best {
                let id = Uuid::parse_str(&scored.id).map_err(|e| internal("a point has no id").with_source(e))?;
                let payload = payloads.get(&scored.id).cloned().unwrap_or_default();
                hits.push(Hit { id, score: scored.score, payload });
            }
        }
        Ok(Found { hits, version: table.version() })
    }
}

async fn payloads(rows: DataFrame) -> Result<std::collections::HashMap<String, Map<String, Value>>> {
    let mut found = std::collections::HashMap::new();
    for batch in rows.collect().await.map_err(failed)? {
        let (ids, documents) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        for row in 0..batch.num_rows() {
            let Ok(Value::Object(payload)) = serde_json::from_str(documents.value(row)) else { continue };
            found.insert(ids.value(row).to_owned(), payload);
        }
    }
    Ok(found)
}

/// The columns as one JSON document, `payload`.
pub fn payload_document<'n>(names: impl Iterator<Item = &'n str>) -> datafusion::logical_expr::Expr {
    let arguments = names.flat_map(|name| [datafusion::prelude::lit(name), unqualified(name)]).collect();
    let document = datafusion::functions::core::expr_fn::named_struct(arguments);
    crate::functions::to_json().call(vec![document]).alias("payload")
}

fn unqualified(name: &str) -> datafusion::logical_expr::Expr {
    col(Column::new_unqualified(name))
}

/// A row and how near it is.
struct Scored {
    score: f32,
    id: String,
}

impl Ord for Scored {
    // The farthest is the greatest, so that a heap gives it away first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

/// The `limit` rows nearest to `vector`, the nearest first; of equally near ones those of the smaller ids.
async fn scores(frame: &DataFrame, vector: &[f32], limit: usize) -> Result<Vec<Scored>> {
    let rows = frame.clone().select(vec![unqualified("point_id"), unqualified("embedding")]).map_err(failed)?;
    let mut stream = rows.execute_stream().await.map_err(failed)?;
    let mut best: BinaryHeap<Scored> = BinaryHeap::with_capacity(limit + 1);
    while let Some(batch) = stream.try_next().await.map_err(failed)? {
        score(&batch, vector, limit, &mut best)?;
    }
    Ok(best.into_sorted_vec())
}

fn score(batch: &RecordBatch, vector: &[f32], limit: usize, best: &mut BinaryHeap<Scored>) -> Result<()> {
    let column = |at: usize| -> Result<&ArrayRef> { batch.columns().get(at).ok_or_else(|| internal("a column is missing")) };
    let ids = column(0)?.as_string_opt::<i32>().ok_or_else(|| internal("ids are no text"))?;
    let vectors = column(1)?.as_list_opt::<i32>().ok_or_else(|| internal("vectors are no lists"))?;
    let values: &Float32Array =
        vectors.values().as_primitive_opt::<Float32Type>().ok_or_else(|| internal("vectors are no numbers"))?;
    for row in (0..batch.num_rows()).filter(|row| vectors.is_valid(*row)) {
        let (Some(start), Some(end)) = (vectors.value_offsets().get(row), vectors.value_offsets().get(row + 1)) else { continue };
        let (start, end) = (usize::try_from(*start).unwrap_or_default(), usize::try_from(*end).unwrap_or_default());
        // Vectors of another embedder are of another length, until their workspace has run again.
        let Some(own) = values.values().get(start..end).filter(|own| own.len() == vector.len()) else { continue };
        let score = dot(own, vector);
        if best.len() < limit || best.peek().is_some_and(|worst| score >= worst.score) {
            best.push(Scored { score, id: ids.value(row).to_owned() });
            if best.len() > limit {
                best.pop();
            }
        }
    }
    Ok(())
}

/// The sum of products, in lanes that the compiler makes vectors of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 16];
    let (mut left, mut right) = (a.chunks_exact(16), b.chunks_exact(16));
    for (x, y) in left.by_ref().zip(right.by_ref()) {
        for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * y;
        }
    }
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    lanes.iter().sum::<f32>() + rest
}

fn failed(error: datafusion::common::DataFusionError) -> Error {
    query_error("cannot search", error)
}

fn internal(message: &str) -> Error {
    Error::new(ErrorKind::Internal, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_every_part_and_on_where_it_ends() {
        let id = point_id("acme", "vectors.posts", "1", 0);
        assert_eq!(id, point_id("acme", "vectors.posts", "1", 0));
        assert_eq!(id.get_version_num(), 5);
        let others = [("acm", "evectors.posts", "1", 0), ("acme", "vectors.posts", "1", 1), ("acme", "vectors.posts", "10", 0)];
        for (workspace, table, key, chunk) in others {
            assert_ne!(id, point_id(workspace, table, key, chunk));
        }
    }

    #[test]
    fn a_product_is_the_sum_whatever_the_length() {
        for length in [0, 1, 15, 16, 17, 100, 384] {
            let a: Vec<f32> = (0..length).map(|i| i as f32 * 0.5).collect();
            let b: Vec<f32> = (0..length).map(|i| 1.0 - i as f32 * 0.01).collect();
            let expected: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            assert!((f64::from(dot(&a, &b)) - expected).abs() < 1e-2 * expected.abs().max(1.0));
        }
    }
}
