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
mod origin;
mod read;
mod schema;
mod select;
mod session;
mod silver;
mod sql;
mod types;
mod yaml;

pub use compile::{
    BronzeSchema, CompileInput, CompiledExpectation, CompiledGold, CompiledPipeline, CompiledSilver, EntityType, OutputColumn,
    compile,
};
pub use graph::TableGraph;
pub use interpolate::Lookup;
pub use model::{
    BronzeTable, Expectation, GoldTable, Layer, MAX_TABLE_NAME, MethodInput, Otherwise, Pipeline, QUARANTINE_SUFFIX, SilverTable,
    TOMBSTONES_SUFFIX, TableName, WorkspaceSpec,
};
pub use name::ORIGIN_COLUMNS;
pub use schema::json_schema;
pub use session::planning_context;
pub use sql::quote_hidden_names;
