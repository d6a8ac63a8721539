//! A graph in step with tables: nodes and edges, each of one workspace.
//!
//! A pipeline's node and edge tables (`graph.nodes`, `graph.edges` of Delta) are the truth; a [`GraphStore`] is them or mirrors them.

mod local;
pub mod neo4j;
pub mod query;
mod store;
mod view;

pub use local::LocalGraph;
pub use neo4j::{Neo4j, Neo4jOptions};
pub use query::GraphQuery;
pub use store::{Edge, EdgeKey, Graph, GraphStore, Node, NodeKey, Stored, Subgraph};
pub use view::{Answer, GraphView};

/// Whether a node's or an edge's own property cannot have this name, because the stores keep it for themselves.
pub fn is_reserved(property: &str) -> bool {
    property.is_empty() || property == crate::workspace_id::WORKSPACE_COLUMN || property.starts_with('_')
}

/// Whether `name` can be a label or a type: letters, digits and `_`, not starting with a digit.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
