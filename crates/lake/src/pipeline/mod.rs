//! The pipeline language: text to checked domain type.

mod interpolate;
mod key;
mod model;
mod name;
mod origin;
mod read;
mod schema;
mod types;
mod yaml;

pub use interpolate::Lookup;
pub use model::{
    BronzeTable, Expectation, GoldTable, Layer, MethodInput, Otherwise, Pipeline, SilverTable, TableName, WorkspaceSpec,
};
pub use name::ORIGIN_COLUMNS;
pub use schema::json_schema;
