//! `lake schema`: the JSON Schema of pipeline files.

use crate::backend;
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;

/// Prints the schema.
pub(crate) fn run(printer: &Printer) -> Result<ExitStatus, Failure> {
    ExitStatus::Done.once_written(printer.json(&backend::pipeline_schema()))
}
