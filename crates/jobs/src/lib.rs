//! What runs: Bronze takes files in, Silver refines, Gold aggregates, and the runner does it in order and reports.

mod aggregate;
mod beside;
mod context;
mod feed;
pub mod ingest;
mod lineage;
mod peak_memory;
mod plan;
mod prepare;
mod reconcile;
mod refine;
mod runner;
pub mod schema;
mod settled;
mod sinks;
mod vectors;

pub use aggregate::aggregate;
pub use context::{JobContext, Observer, Silent};
pub use lake::forecast::{Action, Quantity, TablePlan};
pub use plan::{PlanReport, plan};
pub use prepare::{BronzeSource, PrepareError, PrepareRequest, Project};
pub use reconcile::{ReconcileReport, SinkDifferences, reconcile};
pub use refine::refine;
pub use runner::{RunOptions, report_path, run};
pub use settled::recall;
pub use sinks::Sinks;
pub use tokio_util::sync::CancellationToken;
pub use vectors::vectorize;
