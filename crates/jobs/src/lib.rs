//! What runs: the jobs that build the tables of a pipeline.

pub mod ingest;
