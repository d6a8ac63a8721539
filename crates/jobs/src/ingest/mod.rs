//! Bronze: rows as they were delivered, each with its origin.

mod fingerprint;
pub mod format;
pub mod program;
pub mod source;
