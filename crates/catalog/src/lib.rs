//! The data catalog: methods and ontologies, read from definitions that are checked as a whole.

mod attribute_type;
pub mod builtin;
mod definition;
mod error;
mod input_type;
mod method;
mod nearest;
mod ontology;

pub use attribute_type::AttributeType;
pub use definition::Definitions;
pub use error::{DefinitionFinding, Error, ErrorKind, InvalidDefinitions, Result};
pub use input_type::InputType;
pub use method::{DEFAULT_TIMEOUT_SECONDS, InputFinding, InputSpec, Method, Program};
pub use ontology::{Attribute, Entity, Ontology, Relation, Version};
