//! Bronze: rows as they were delivered, each with its origin.

pub mod format;

