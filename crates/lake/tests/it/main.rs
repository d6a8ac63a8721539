//! The SDK through its public API.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod hostile;
mod right;
mod support;
mod wrong;
