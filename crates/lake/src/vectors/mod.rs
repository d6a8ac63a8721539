//! Vectors in step with tables: points in a store, each of one workspace, found by nearness.
//!
//! A pipeline's vector table (`vectors.<name>`, a Delta table) is the truth; a [`VectorStore`] is it or mirrors it.

mod condition;
mod qdrant;
mod search;
mod store;
mod table;

pub use condition::{Comparison, Condition, Literal};
pub use qdrant::{Qdrant, QdrantOptions};
pub use search::{Made, Search, SearchResult};
pub use store::{Collection, FieldKind, Hit, PayloadField, Point, StoredPoint, VectorStore};
pub use table::{Found, collection, payload_document, payload_fields, point_id, vector_schema};
