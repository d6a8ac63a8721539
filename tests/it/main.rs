//! End-to-end tests: the real binary, real readers, real kills.

#![allow(clippy::unwrap_used, reason = "helpers of tests are not in test functions, for which `clippy.toml` allows it")]

mod change;
mod isolation;
mod kill;
mod library;
mod memory;
mod public_data;
mod quickstart;
mod structure;
mod wrong;
