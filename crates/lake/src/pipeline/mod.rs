//! The pipeline language: text to checked domain type.

mod model;

pub use model::{
    BronzeTable, Expectation, GoldTable, Layer, MAX_TABLE_NAME, MethodInput, Otherwise, Pipeline, QUARANTINE_SUFFIX, SilverTable,
    TOMBSTONES_SUFFIX, TableName, WorkspaceSpec,
};
