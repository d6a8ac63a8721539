//! Real servers for tests. Each is installed at first use, pinned, into the tests' cache; listens on a free port of the loopback; and ends
//! with the process that started it, however that ends, taking its data along.

mod embeddings;
mod install;
mod minio;
mod neo4j;
mod process;
mod qdrant;
mod redis;
mod server;
mod tls;
mod versitygw;

pub use embeddings::Embeddings;
pub use minio::{Minio, MinioOptions, minio};
pub use neo4j::{Neo4j, Neo4jAddress, neo4j};
pub use qdrant::{Qdrant, QdrantAddress, QdrantCall, qdrant};
pub use redis::Redis;
pub use server::Server;
pub use tls::Certificates;
pub use versitygw::VersityGw;
