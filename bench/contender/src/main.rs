//! `lake` as a contender of the benchmark, under the contract of `WORKLOAD.md`: one phase a process.
//!
//! Loading runs the `lake` binary on `bench/pipeline.yaml`, as a user does. Querying embeds the library, as a service does.

mod landing;
mod query;
mod run;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde_json::{Map, Value, json};

/// The allocator of the `lake` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Arguments {
    /// What to do.
    #[arg(long)]
    phase: Phase,
    /// The folder with `base/`, `change/` and `queries.json`.
    #[arg(long)]
    raw: PathBuf,
    /// The folder of the tables.
    #[arg(long)]
    out: PathBuf,
    /// The file to write steps and answers to.
    #[arg(long)]
    steps: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Phase {
    /// All files of `base/` into an empty lake.
    Load,
    /// All files of `change/` onto what is there.
    Incr,
    /// The queries.
    Query,
    /// A run over files that were all read.
    Noop,
}

/// What a phase came to.
#[derive(Default)]
struct Outcome {
    /// Seconds by step.
    steps: Map<String, Value>,
    /// Answers by query.
    answers: Map<String, Value>,
}

impl Outcome {
    fn step(&mut self, name: &str, seconds: f64) {
        self.steps.insert(name.into(), json!((seconds * 1e6).round() / 1e6));
    }

    fn answer(&mut self, name: &str, answer: Value) {
        self.answers.insert(name.into(), answer);
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (raw, out) = (std::path::absolute(&arguments.raw)?, std::path::absolute(&arguments.out)?);
    let outcome = match arguments.phase {
        Phase::Load => {
            landing::deliver(&raw, "base", &out, true)?;
            run::run(&out)?
        }
        Phase::Incr => {
            landing::deliver(&raw, "change", &out, false)?;
            run::run(&out)?
        }
        Phase::Noop => run::run_unchanged(&out)?,
        Phase::Query => query::query(&raw, &out)?,
    };
    let written = json!({"steps": outcome.steps, "answers": outcome.answers});
    fs::write(&arguments.steps, serde_json::to_vec(&written)?)?;
    Ok(())
}
