//! End-to-end tests: the real binary, real readers, real kills.

mod isolation;
mod kill;
mod library;
mod public_data;
mod quickstart;
mod structure;
mod wrong;
