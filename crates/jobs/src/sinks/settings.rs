//! Which stores there are, by the environment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lake::Result;
use lake::embed::{self, Embedder};
use lake::graph::{GraphStore, Neo4j, Neo4jOptions};
use lake::pipeline::Pipeline;
use lake::vectors::{Qdrant, QdrantOptions, VectorStore};
use lake::{Error, ErrorKind};

/// For how long a request to a store is tried again.
const PATIENCE: Duration = Duration::from_secs(60);

/// The embedder and the stores of a run. Nothing is asked of them yet.
#[derive(Clone)]
pub struct Sinks {
    /// Makes vectors of texts.
    pub embedder: Arc<dyn Embedder>,
    /// Where points go beside the tables.
    pub vectors: Option<Arc<dyn VectorStore>>,
    /// Where nodes and edges go beside the tables.
    pub graph: Option<Arc<dyn GraphStore>>,
}

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.identity())
    }
}

impl Sinks {
    /// Those that the variables name: `LLM_API_URL`, `LLM_EMBEDDING_MODEL`, `QDRANT_URL`, `NEO4J_URI` and what belongs to them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a setting that cannot be.
    pub fn connect(lookup: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<Self> {
        let set = |name: &str| lookup(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let patience = match set("LAKE_RETRY_SECONDS") {
            None => PATIENCE,
            Some(text) => text.parse().map(Duration::from_secs).map_err(|e| {
                Error::new(ErrorKind::Config, format!("`LAKE_RETRY_SECONDS` is `{text}`, which is no number of seconds"))
                    .with_source(e)
            })?,
        };
        let vectors = match set("QDRANT_URL") {
            None => None,
            Some(url) => {
                let prefix = set("QDRANT_COLLECTION_PREFIX").unwrap_or_default();
                let options = QdrantOptions { url, api_key: set("QDRANT_API_KEY"), patience, prefix, ..Default::default() };
                Some(Arc::new(Qdrant::connect(&options)?) as Arc<dyn VectorStore>)
            }
        };
        let graph = match set("NEO4J_URI") {
            None => None,
            Some(uri) => {
                let options = Neo4jOptions {
                    uri,
                    user: set("NEO4J_USER").unwrap_or_else(|| "neo4j".to_owned()),
                    password: set("NEO4J_PASSWORD").unwrap_or_default(),
                    database: set("NEO4J_DATABASE"),
                    patience,
                };
                Some(Arc::new(Neo4j::connect(options)?) as Arc<dyn GraphStore>)
            }
        };
        Ok(Self { embedder: embed::connect(&set)?, vectors, graph })
    }

    /// Those that `pipeline` needs; `None` for a pipeline without vectors and graph.
    ///
    /// # Errors
    /// As [`Sinks::connect`].
    pub fn of(pipeline: &Pipeline, lookup: &(dyn Fn(&str) -> Option<String> + Sync)) -> Result<Option<Self>> {
        let none = pipeline.vectors.is_empty() && pipeline.graph.is_empty();
        if none { Ok(None) } else { Self::connect(lookup).map(Some) }
    }

    /// What results depend on, without secrets.
    pub fn identity(&self) -> String {
        let store = |name: Option<String>| name.unwrap_or_else(|| "tables".to_owned());
        let (vectors, graph) = (self.vectors.as_ref().map(|s| s.describe()), self.graph.as_ref().map(|s| s.describe()));
        format!("{}; vectors in {}; graph in {}", self.embedder.name(), store(vectors), store(graph))
    }
}
