//! The pipeline language: text to checked domain type, and from there to a typed plan.
//!
//! [`Pipeline::parse`] reads a file, [`TableGraph`] knows the order of work, and [`compile`] checks everything against the
//! schemas of the data. Each gives all of its findings at once.

mod compile;
mod complaint;
mod expression;
mod fact;
mod gold;
mod graph;
mod interpolate;
mod key;
mod model;
mod name;
mod nodes;
mod origin;
mod read;
mod schema;
mod select;
mod session;
mod silver;
mod sql;
mod types;
mod vectors;
mod yaml;

pub use compile::{
    BronzeSchema, CompileInput, CompiledExpectation, CompiledGold, CompiledPipeline, CompiledSilver, EntityType, OutputColumn,
    compile,
};
pub use graph::TableGraph;
pub use interpolate::Lookup;
pub use model::{
    BronzeTable, EMBEDDING_CACHE, EdgeEnd, EdgeMapping, Expectation, GoldTable, GraphSource, Layer, MAX_TABLE_NAME, MethodInput,
    NodeMapping, Otherwise, Pipeline, Properties, QUARANTINE_SUFFIX, SilverTable, TOMBSTONES_SUFFIX, TableName, VectorTable,
    WorkspaceSpec,
};
pub use name::ORIGIN_COLUMNS;
pub use nodes::{CompiledGraph, PropertySource};
pub use schema::json_schema;
pub use session::planning_context;
pub use sql::quote_hidden_names;
pub use vectors::{CompiledVectors, VECTOR_COLUMNS};
