//! The pipeline language: text to checked domain type.

mod model;

pub use model::{
    BronzeTable, Expectation, GoldTable, Layer, MethodInput, Otherwise, Pipeline, SilverTable, TableName, WorkspaceSpec,
};
