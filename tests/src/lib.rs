//! Support for the end-to-end tests.

pub mod python;
pub mod isolation;
