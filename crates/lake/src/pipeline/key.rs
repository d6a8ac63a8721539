//! The words a pipeline file may use, in one place for the reader, the nearest-name search and the JSON Schema.

/// Keys of the whole file.
pub(super) const PIPELINE: &[&str] = &["name", "ontology", "workspace", "bronze", "silver", "gold", "vectors", "graph"];

/// Keys of `workspace:` when it is a mapping.
pub(super) const WORKSPACE: &[&str] = &["column"];

/// Keys of a table under `bronze:`.
pub(super) const BRONZE: &[&str] = &["method", "inputs", "columns", "description"];

/// Keys of a table under `silver:`.
pub(super) const SILVER: &[&str] =
    &["from", "entity", "select", "where", "key", "sequence_by", "delete_when", "merge_on_read", "expect", "description"];

/// Keys of one entry of `expect:`.
pub(super) const EXPECTATION: &[&str] = &["check", "otherwise"];

/// Keys of a table under `gold:`.
pub(super) const GOLD: &[&str] = &["sql", "description"];

/// Keys of a table under `vectors:`.
pub(super) const VECTORS: &[&str] = &["from", "id", "embed", "payload", "where", "chunk", "description"];

/// Keys of `chunk:`.
pub(super) const CHUNK: &[&str] = &["by", "size", "overlap"];

/// Keys of an entry under `graph:`.
pub(super) const GRAPH: &[&str] = &["from", "where", "nodes", "edges"];

/// Keys of an entry of `nodes:` when it is a mapping.
pub(super) const NODE: &[&str] = &["id", "properties"];

/// Keys of an entry of `edges:`.
pub(super) const EDGE: &[&str] = &["type", "from", "to", "properties"];

/// Values of `by:` of `chunk:`.
pub(super) const CHUNK_BY: &[&str] = &["characters", "sentences", "tokens"];
