//! Bronze: source files and programs to rows as they were delivered.

mod assign;
mod fingerprint;
pub mod format;
pub mod job;
pub mod program;
mod programmed;
pub mod source;

pub use assign::WorkspaceFrom;
pub use job::{Intake, ingest};
pub use programmed::{ProgramIntake, ingest_program};
