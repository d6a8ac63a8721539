//! `lake validate`: checks a pipeline without moving data.

use lake::pipeline::Pipeline;

use super::Session;
use crate::arguments::PipelineArguments;
use crate::diagnostics;
use crate::exit::{ExitStatus, Failure};
use crate::quantity::counted;

/// Checks; findings are the result.
pub(crate) async fn run(arguments: &PipelineArguments, session: &Session) -> Result<ExitStatus, Failure> {
    let lake = session.settings.lake()?;
    let project = session.prepare(&lake, arguments).await?;
    if !session.printer.is_human() {
        return ExitStatus::Done.once_written(diagnostics::report(project.warnings(), &session.printer));
    }
    session.printer.say(&format!("{} is valid: {}", arguments.pipeline, contents(project.pipeline())));
    Ok(ExitStatus::Done)
}

/// `2 bronze, 1 silver and 3 gold tables`.
fn contents(pipeline: &Pipeline) -> String {
    let counts = [
        (pipeline.bronze.len(), "bronze"),
        (pipeline.silver.len(), "silver"),
        (pipeline.gold.len(), "gold"),
        (pipeline.vectors.len(), "vectors"),
    ];
    let total: usize = counts.iter().map(|(n, _)| n).sum();
    let parts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, layer)| format!("{n} {layer}")).collect();
    let tables = format!("{} ({})", counted(total as u64, "table", "tables"), parts.join(", "));
    if pipeline.graph.is_empty() { tables } else { format!("{tables} and a graph") }
}
