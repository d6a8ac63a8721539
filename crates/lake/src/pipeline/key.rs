//! The words a pipeline file may use, in one place for the reader, the nearest-name search and the JSON Schema.

/// Keys of the whole file.
pub(super) const PIPELINE: &[&str] = &["name", "ontology", "workspace", "bronze", "silver", "gold"];

/// Words of the language that this version does not run yet, allowed nowhere but at the top.
pub(super) const LATER: &[&str] = &["vectors", "graph"];

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
