//! The catalog's lineage model.

pub use lake_catalog::{ColumnLineage, ColumnRef, DirectSource, IndirectKind, IndirectSource, SourceKind, TableLineage};
