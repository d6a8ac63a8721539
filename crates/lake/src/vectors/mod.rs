//! Vectors in step with tables: points in a store, each of one workspace, found by nearness.
//!
//! A pipeline's vector table (`vectors.<name>`, a Delta table) is the truth; a [`VectorStore`] is it or mirrors it.

mod condition;
mod qdrant;
mod store;

pub use condition::{Comparison, Condition, Literal};
pub use qdrant::{Qdrant, QdrantOptions};
pub use store::{Collection, FieldKind, Hit, PayloadField, Point, StoredPoint, VectorStore};
