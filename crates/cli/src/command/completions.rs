//! `lake completions`: the completion script of a shell.

use clap::CommandFactory;

use crate::arguments::{Arguments, CompletionsArguments};
use crate::exit::{ExitStatus, Failure};
use crate::printer::Printer;

/// Prints the script.
pub(crate) fn run(arguments: &CompletionsArguments, printer: &Printer) -> Result<ExitStatus, Failure> {
    let mut script = vec![];
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "lake", &mut script);
    ExitStatus::Done.once_written(printer.result(&String::from_utf8_lossy(&script)))
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::*;
    use crate::arguments::OutputForm;
    use crate::printer::Surface;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let (printer, captured) = Printer::captured(OutputForm::Human, Surface::default());
            run(&CompletionsArguments { shell }, &printer).unwrap();
            assert!(captured.stdout().contains("optimize") && captured.stdout().contains("full-refresh"), "{shell}");
        }
    }
}
