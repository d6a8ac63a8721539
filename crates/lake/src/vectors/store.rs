//! What every store of vectors can do.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::BoxStream;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::condition::Condition;
use crate::error::Result;
use crate::workspace_id::WorkspaceId;

/// What a payload field holds, for the store's index of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text, matched whole.
    Keyword,
    /// A whole number.
    Integer,
    /// A number.
    Float,
    /// True or false.
    Bool,
    /// A point in time, as RFC 3339 text.
    Datetime,
    /// Anything else: kept, not indexed.
    Other,
}

/// A field of the payload of a collection's points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadField {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
}

/// A collection of points that are comparable with each other: one embedder, one mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// The name that searches use; the same whatever the generation.
    pub name: String,
    /// Hex digits that stand for the mapping, the chunking and the embedder. Points of one generation are never mixed with another's.
    pub generation: String,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// The payload, beside the workspace.
    pub payload: Vec<PayloadField>,
}

/// A point to store.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The same for the same workspace, table, key and chunk.
    pub id: Uuid,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// As many numbers as the collection's `dimensions`, of length 1.
    pub vector: Vec<f32>,
    /// Fields of the collection's payload, and `text`.
    pub payload: Map<String, Value>,
    /// Hex digits over all of the above: points with the same id and hash are the same.
    pub hash: String,
}

/// What a store says of a point it holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredPoint {
    /// The point's id.
    pub id: Uuid,
    /// The hash it was stored with.
    pub hash: String,
}

/// A point that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The point's id.
    pub id: Uuid,
    /// Cosine of the angle between the query and the point: 1 is the same direction.
    pub score: f32,
    /// The point's payload.
    pub payload: Map<String, Value>,
}

/// A store of vectors. Whatever reads or removes points takes the workspace whose they are, and cannot reach others.
#[async_trait]
pub trait VectorStore: Send + Sync + Debug {
    /// What it is and where, without secrets: `Qdrant at http://localhost:6334`.
    fn describe(&self) -> String;

    /// What the names of collections begin with here, so that several lakes can share a store.
    fn prefix(&self) -> &str {
        ""
    }

    /// Makes the generation of the collection, if it is not there, with its indexes. Searches go to the published generation still.
    ///
    /// Gives whether it was there, so that its points may be relied on.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`] when the store cannot be reached or refuses; [`crate::ErrorKind::Config`] when a collection of that
    /// name has other dimensions.
    async fn prepare(&self, collection: &Collection) -> Result<bool>;

    /// Stores points, each in place of the one with its id. Returns when all are stored for good.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`]; part of the points may be stored then.
    async fn upsert(&self, collection: &Collection, points: Vec<Point>) -> Result<()>;

    /// Removes points of a workspace by id; ids that are not there are passed over. Returns when all are gone for good.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`]; part of the points may be gone then.
    async fn delete(&self, collection: &Collection, workspace: &WorkspaceId, ids: &[Uuid]) -> Result<()>;

    /// Lets searches by the collection's name go to this generation, at once, and removes the others.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`].
    async fn publish(&self, collection: &Collection) -> Result<()>;

    /// The points of a workspace in this generation, in the order of their ids.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`], also in the stream.
    async fn list(&self, collection: &Collection, workspace: &WorkspaceId) -> Result<BoxStream<'static, Result<StoredPoint>>>;

    /// The workspaces that have points in this generation, sorted: for finding those that should have none.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`].
    async fn workspaces(&self, collection: &Collection) -> Result<Vec<WorkspaceId>>;

    /// How many points a workspace has in this generation, counted exactly.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`].
    async fn count(&self, collection: &Collection, workspace: &WorkspaceId) -> Result<u64>;

    /// The points of a workspace nearest to `vector`, the nearest first; at most `limit`, which is 1 or more. Of the published generation of
    /// the collection `name`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::NotFound`] when no generation was published; [`crate::ErrorKind::Query`] for a condition that the store cannot check.
    async fn search(
        &self,
        name: &str,
        workspace: &WorkspaceId,
        vector: &[f32],
        condition: Option<&Condition>,
        limit: usize,
    ) -> Result<Vec<Hit>>;
}
