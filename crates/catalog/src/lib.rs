//! The data catalog: methods, ontologies, the lineage model, and [`trait Catalog`](Catalog) with its adapters.
//!
//! Code that uses a catalog takes `Arc<dyn Catalog>` from [`connect`]; no other place names an adapter.

mod attribute_type;
pub mod builtin;
mod catalog;
mod catalog_ext;
mod connect;
pub mod contract;
mod definition;
mod error;
mod input_type;
mod json_stub;
mod lineage;
mod lineage_tree;
mod method;
mod nearest;
mod ontology;
mod record;

pub use attribute_type::AttributeType;
pub use catalog::Catalog;
pub use catalog_ext::CatalogExt;
pub use connect::{CatalogConfig, CatalogKind, DEFAULT_DEFINITIONS, connect};
pub use definition::Definitions;
pub use error::{DefinitionFinding, Error, ErrorKind, InvalidDefinitions, Result};
pub use input_type::InputType;
pub use json_stub::JsonStub;
pub use lineage::{ColumnLineage, ColumnRef, DirectSource, Directness, IndirectKind, IndirectSource, SourceKind, TableLineage};
pub use lineage_tree::{LineageItem, LineageLink, LineageTree};
pub use method::{DEFAULT_TIMEOUT_SECONDS, InputFinding, InputSpec, Method, Program};
pub use ontology::{Attribute, Entity, Ontology, Relation, Version};
pub use record::{ColumnRecord, RunRecord, RunStatus, TableRecord};
