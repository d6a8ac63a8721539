//! Embedders: texts to vectors.

pub mod chunk;
mod connect;
mod http;
mod local;
mod offline;
mod tokenizer;
mod vector;

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;

pub use self::chunk::{ChunkBy, Chunking, chunks};
pub use self::connect::connect;
pub use self::http::{HttpEmbedder, HttpEmbedderOptions};
pub use self::local::LocalEmbedder;
pub use self::offline::{NOTICE, OfflineEmbedder};

/// Makes vectors of texts. The same text gives the same vector as long as the name is the same.
#[async_trait]
pub trait Embedder: Send + Sync + Debug {
    /// What it is, with all that its vectors depend on, without secrets: `offline-hash-v1/256`, `http://host/v1 text-embedding-3-small`.
    fn name(&self) -> String;

    /// Numbers of a vector. May ask the model once.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] when the settings are wrong; [`crate::ErrorKind::Storage`] when a service cannot be reached.
    async fn dimensions(&self) -> Result<usize>;

    /// One vector of length 1 for each text, in order. Texts are not empty; there may be any number of them, and the embedder makes batches of
    /// its own.
    ///
    /// # Errors
    /// As [`Embedder::dimensions`]; [`crate::ErrorKind::Data`] for a text that the model cannot take. Texts are never part of an error.
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>>;

    /// Whether to keep vectors for texts that come again: it costs time or money to make them.
    fn is_costly(&self) -> bool {
        true
    }

    /// How many tokens a text has for this model; `None` when it does not say.
    fn tokens(&self, text: &str) -> Option<usize>;
}
