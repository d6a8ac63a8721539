//! Support for the end-to-end tests.

pub mod isolation;
pub mod python;
