//! The `lake` binary: arguments to library calls to printing.

mod allocator;
mod arguments;
mod backend;
mod command;
mod crash;
mod diagnostics;
mod environment;
mod exit;
mod grid;
mod interrupt;
mod logging;
mod printer;
mod progress;
mod quantity;
mod rows;
mod settings;
mod style;
mod suggestion;
mod summary;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use lake::{Error, ErrorKind};

use crate::arguments::{Arguments, Command, OutputForm};
use crate::command::Session;
use crate::environment::Environment;
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;
use crate::settings::Settings;

/// The stack of a worker: plans of deep queries are walked recursively.
const STACK_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    crash::install();
    crash::guard(|| match Arguments::try_parse() {
        Ok(arguments) => run(arguments),
        Err(error) => refused(&error),
    })
    .into()
}

/// Prints help, the version, or what is wrong with the arguments.
fn refused(error: &clap::Error) -> ExitStatus {
    // A reader that went away is no error.
    let _ = error.print();
    if error.exit_code() == 0 { ExitStatus::Done } else { ExitStatus::Wrong }
}

fn run(arguments: Arguments) -> ExitStatus {
    let printer = Arc::new(Printer::new(&arguments.global, &Environment::of_process()));
    let ended = check_form(&arguments).and_then(|()| {
        let light = command::run_light(&arguments.command, &printer);
        light.unwrap_or_else(|| run_with_settings(arguments, &printer))
    });
    ended.unwrap_or_else(|failure| failure.report(&printer))
}

/// `csv` and `ndjson` are forms of rows, which only a query has.
fn check_form(arguments: &Arguments) -> Result<(), Failure> {
    let rows = matches!(arguments.global.output, OutputForm::Csv | OutputForm::Ndjson);
    if !rows || matches!(arguments.command, Command::Query(_)) {
        return Ok(());
    }
    let error = Error::new(ErrorKind::Config, "only `lake query` writes rows as csv or ndjson");
    Err(error.with_hint("use `--output json`").into())
}

fn run_with_settings(arguments: Arguments, printer: &Arc<Printer>) -> Result<ExitStatus, Failure> {
    let environment = Environment::read()?;
    logging::start(&arguments.global, &environment, printer)?;
    let settings = Settings::resolve(&arguments.global, environment)?;
    if settings.memory.is_some() {
        allocator::give_back_early();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("lake")
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|e| Error::new(ErrorKind::Internal, "cannot start the threads of the program").with_source(e))?;
    let ended = runtime.block_on(run_until_asked_to_stop(arguments.command, settings, printer.clone()));
    // What still runs, such as reading from a terminal, must not keep the program from ending.
    runtime.shutdown_background();
    ended
}

async fn run_until_asked_to_stop(command: Command, settings: Settings, printer: Arc<Printer>) -> Result<ExitStatus, Failure> {
    let ends_well = command::ends_well(&command);
    let cancel = interrupt::listen(printer.clone(), ends_well);
    let session = Session { printer, settings, cancel: cancel.clone() };
    if ends_well {
        return command::run(command, &session).await;
    }
    tokio::select! {
        ended = command::run(command, &session) => ended,
        () = cancel.cancelled() => Ok(ExitStatus::Interrupted),
    }
}
