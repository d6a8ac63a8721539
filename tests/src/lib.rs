//! Support for the end-to-end tests.

pub mod bench;
pub mod binary;
mod bolt;
mod cache;
pub mod contract;
pub mod isolation;
pub mod packages;
pub mod proxy;
pub mod python;
pub mod s3;
pub mod servers;
