//! The commands: arguments to library calls to printing.

mod completions;
mod doctor;
mod graph;
mod init;
mod lineage;
mod maintain;
mod methods;
mod ontology;
mod plan;
mod query;
mod reconcile;
mod restore;
mod run;
mod schema;
mod search;
mod status;
mod validate;

use std::sync::Arc;

use lake::Lake;
use lake::{Error, ErrorKind};

use crate::arguments::{Command, PipelineArguments};
use crate::backend::{self, CancellationToken, Project};
use crate::diagnostics;
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;
use crate::settings::Settings;

/// What a command works with.
pub(crate) struct Session {
    /// Where it prints.
    pub(crate) printer: Arc<Printer>,
    /// What it was told.
    pub(crate) settings: Settings,
    /// Set when the user asks to stop.
    pub(crate) cancel: CancellationToken,
}

impl Session {
    /// Checks the pipeline and says what is doubtful about it. Asked to stop, it stops at once: nothing is written here.
    async fn prepare(&self, lake: &Lake, file: &PipelineArguments) -> Result<Project, Failure> {
        let project = tokio::select! {
            () = self.cancel.cancelled() => return Err(Error::new(ErrorKind::Cancelled, "nothing was changed").into()),
            project = backend::prepare(&self.settings, lake, &file.pipeline) => project?,
        };
        if !project.warnings().is_empty() && self.printer.is_human() {
            self.printer.say(&diagnostics::text(project.warnings(), self.printer.err));
        }
        Ok(project)
    }
}

/// Runs a command that needs no settings and no runtime; `None` for any other.
pub(crate) fn run_light(command: &Command, printer: &Printer) -> Option<Result<ExitStatus, Failure>> {
    match command {
        Command::Schema => Some(schema::run(printer)),
        Command::Completions(arguments) => Some(completions::run(arguments, printer)),
        Command::Init(arguments) => Some(init::run(arguments, printer)),
        _ => None,
    }
}

/// Whether the command ends well by itself when it is asked to stop; any other is dropped.
pub(crate) fn ends_well(command: &Command) -> bool {
    matches!(command, Command::Run(_))
}

/// Runs any other command.
pub(crate) async fn run(command: Command, session: &Session) -> Result<ExitStatus, Failure> {
    match command {
        Command::Run(arguments) => run::run(arguments, session).await,
        Command::Validate(arguments) => validate::run(&arguments, session).await,
        Command::Plan(arguments) => plan::run(&arguments, session).await,
        Command::Status => status::run(session).await,
        Command::Query(arguments) => query::run(&arguments, session).await,
        Command::Search(arguments) => search::run(&arguments, session).await,
        Command::Graph(arguments) => graph::run(&arguments, session).await,
        Command::Reconcile(arguments) => reconcile::run(&arguments, session).await,
        Command::Lineage(arguments) => lineage::run(&arguments, session).await,
        Command::Methods(arguments) => methods::run(&arguments, session).await,
        Command::Ontology(arguments) => ontology::run(&arguments, session).await,
        Command::Doctor => doctor::run(session).await,
        Command::Optimize(arguments) => maintain::optimize(&arguments, session).await,
        Command::Vacuum(arguments) => maintain::vacuum(&arguments, session).await,
        Command::Restore(arguments) => restore::run(&arguments, session).await,
        Command::Init(_) | Command::Schema | Command::Completions(_) => {
            Err(Error::new(ErrorKind::Internal, "a command that needs no runtime was given one").into())
        }
    }
}
