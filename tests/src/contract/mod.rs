//! What every adapter of a trait promises: one suite per trait, run on each of them.

pub mod graph_store;
