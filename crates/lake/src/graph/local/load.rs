//! From tables to a graph.

use arrow::array::{Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::prelude::DataFrame;
use serde_json::{Map, Value};

use super::LocalGraph;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::store::{Edge, EdgeKey, Node, NodeKey};
use crate::query_error;

impl LocalGraph {
    /// Loads one workspace's rows: nodes of `label`, `id`, `properties` (JSON) and `hash`; edges of `kind`, `from_label`, `from_id`,
    /// `to_label`, `to_id`, `properties` and `hash`, all of them texts.
    ///
    /// # Errors
    /// When the tables cannot be read, or [`ErrorKind::Data`] when they are not made so.
    pub async fn load(nodes: DataFrame, edges: DataFrame) -> Result<Self> {
        let mut found = (Vec::new(), Vec::new());
        for batch in nodes.collect().await.map_err(|error| query_error("cannot read the graph", error))? {
            let [label, id, properties, hash] = texts(&batch, ["label", "id", "properties", "hash"])?;
            for row in 0..batch.num_rows() {
                let key = NodeKey { label: label.value(row).into(), id: id.value(row).into() };
                found.0.push(Node { key, properties: object(&properties, row)?, hash: hash.value(row).into() });
            }
        }
        for batch in edges.collect().await.map_err(|error| query_error("cannot read the graph", error))? {
            let names = ["kind", "from_label", "from_id", "to_label", "to_id", "properties", "hash"];
            let [kind, from_label, from_id, to_label, to_id, properties, hash] = texts(&batch, names)?;
            for row in 0..batch.num_rows() {
                let from = NodeKey { label: from_label.value(row).into(), id: from_id.value(row).into() };
                let to = NodeKey { label: to_label.value(row).into(), id: to_id.value(row).into() };
                let key = EdgeKey { kind: kind.value(row).into(), from, to };
                found.1.push(Edge { key, properties: object(&properties, row)?, hash: hash.value(row).into() });
            }
        }
        Ok(Self::new(found.0, found.1))
    }
}

fn texts<const N: usize>(batch: &RecordBatch, names: [&str; N]) -> Result<[StringArray; N]> {
    let columns = names.map(|name| {
        let column = batch.column_by_name(name).and_then(|column| cast(column, &DataType::Utf8).ok());
        column.and_then(|column| column.as_any().downcast_ref::<StringArray>().cloned()).ok_or(name)
    });
    let missing = columns.iter().find_map(|column| column.as_ref().err().copied());
    match missing {
        Some(name) => Err(Error::new(ErrorKind::Data, format!("a table of the graph has no texts in `{name}`"))),
        None => Ok(columns.map(|column| column.unwrap_or_else(|_| StringArray::from(Vec::<&str>::new())))),
    }
}

fn object(properties: &StringArray, row: usize) -> Result<Map<String, Value>> {
    if properties.is_null(row) {
        return Ok(Map::new());
    }
    // The parser's own words could hold a value.
    serde_json::from_str(properties.value(row))
        .map_err(|_| Error::new(ErrorKind::Data, "properties in a table of the graph are no JSON object"))
}
