//! What every adapter of a trait promises, as one suite that each of them runs.

#[macro_use]
pub(crate) mod vector_store;
