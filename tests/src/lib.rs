//! Support for the end-to-end tests.

pub mod binary;
pub mod isolation;
pub mod python;
