//! Runs of the pipeline, by the `lake` binary that was built along with this program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use lake::report::{RunReport, RunStatus, TableReport, TableStatus};

use crate::{Outcome, Result, landing};

/// The memory budget of runs, such as `512MiB`; without it they have none.
const MEMORY: &str = "LAKE_BENCH_MEMORY";

/// Takes in what has landed. A table's seconds are those of the run's report; `start` is all else of the process: to
/// start, to check the pipeline, to plan, and to write the report and lineage.
pub(crate) fn run(out: &Path) -> Result<Outcome> {
    let (report, seconds) = lake_run(out)?;
    let layers = [("ingest", "bronze."), ("silver", "silver."), ("gold", "gold.")];
    let mut outcome = Outcome::default();
    let mut rest = seconds;
    for (step, layer) in layers {
        let of_layer = |table: &&TableReport| table.table.starts_with(layer);
        let seconds: f64 = report.tables.iter().filter(of_layer).map(|table| table.seconds).sum();
        outcome.step(step, seconds);
        rest -= seconds;
    }
    outcome.step("start", rest.max(0.0));
    Ok(outcome)
}

/// Runs over files that were all read, which must come to nothing.
pub(crate) fn run_unchanged(out: &Path) -> Result<Outcome> {
    let (report, seconds) = lake_run(out)?;
    if let Some(table) = report.tables.iter().find(|table| table.status != TableStatus::Unchanged) {
        return Err(format!("`{}` changed in a run that had nothing to do", table.table).into());
    }
    let mut outcome = Outcome::default();
    outcome.step("start", 0.0);
    outcome.step("noop", seconds);
    Ok(outcome)
}

/// Runs the pipeline, and tells how long that took.
fn lake_run(out: &Path) -> Result<(RunReport, f64)> {
    let pipeline = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("pipeline.yaml");
    let mut command = Command::new(lake_binary()?);
    // In the folder of the lake no `.env` is found, and no catalog.
    command.current_dir(out).arg("run").arg(pipeline).args(["--output", "json"]);
    command.env("EVENTS", landing::folder(out)).env("LAKE_URI", out).env_remove("WORKSPACE_ID").stderr(Stdio::inherit());
    if let Some(memory) = std::env::var_os(MEMORY) {
        command.arg("--memory").arg(memory);
    }
    let clock = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let seconds = clock.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("`lake run` failed ({}): {said}", output.status).into());
    }
    let report: RunReport = serde_json::from_str(&said)?;
    match report.status {
        RunStatus::Succeeded => Ok((report, seconds)),
        _ => Err(format!("the run did not succeed: {said}").into()),
    }
}

fn lake_binary() -> Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("lake");
    if binary.is_file() {
        return Ok(binary);
    }
    Err(format!("there is no `{}`; build all members: `cargo build --release --workspace`", binary.display()).into())
}
