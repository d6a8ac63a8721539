//! The log: warnings to stderr, more on request. Row values are in no log line of ours.

use std::sync::Arc;

use lake::{Error, ErrorKind};
use tracing_subscriber::EnvFilter;

use crate::arguments::{GlobalArguments, LogForm};
use crate::environment::Environment;
use crate::printer::{LogLines, Printer};

/// Libraries whose lines repeat what our errors say, and whose debug lines may hold values of rows.
const NOISY: &str = "deltalake=off,deltalake_core=off,deltalake_aws=off,delta_kernel=off,buoyant_kernel=off,delta_kernel_default_engine=off,aws_config=off";

/// Starts the log.
///
/// # Errors
/// [`ErrorKind::Config`] when `LAKE_LOG` or `RUST_LOG` is not a filter.
pub(crate) fn start(flags: &GlobalArguments, environment: &Environment, printer: &Arc<Printer>) -> lake::Result<()> {
    let filter = filter(flags, environment)?;
    let lines = LogLines(printer.clone());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || lines.clone())
        .with_ansi(printer.err.palette.is_enabled())
        .with_target(flags.verbose > 1);
    // A log that was started before, as in tests, stays.
    let _ = match flags.log_format {
        LogForm::Human => subscriber.try_init(),
        LogForm::Json => subscriber.json().flatten_event(true).try_init(),
    };
    Ok(())
}

fn filter(flags: &GlobalArguments, environment: &Environment) -> lake::Result<EnvFilter> {
    for variable in ["LAKE_LOG", "RUST_LOG"] {
        if let Some(text) = environment.setting(variable) {
            return EnvFilter::try_new(text).map_err(|e| {
                Error::new(ErrorKind::Config, format!("`{variable}` is not a log filter"))
                    .with_hint("write it as `info` or `lake=debug,warn`")
                    .with_source(e)
            });
        }
    }
    let level = match flags.verbose {
        0 if flags.quiet => "error",
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let ours = format!("warn,lake={level},lake_jobs={level},lake_catalog={level},{NOISY}");
    let all = if flags.verbose == 0 { format!("{level},{NOISY}") } else { ours };
    EnvFilter::try_new(all).map_err(|e| Error::new(ErrorKind::Internal, "the default log filter is wrong").with_source(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(flags: GlobalArguments, variables: &[(&str, &str)]) -> String {
        filter(&flags, &Environment::of(variables, &[])).unwrap().to_string()
    }

    #[test]
    fn warnings_are_logged_unless_more_or_less_is_asked_for() {
        let with = |verbose, quiet| chosen(GlobalArguments { verbose, quiet, ..GlobalArguments::default() }, &[]);
        let of_others = |filter: &str, level: &str| filter.split(',').any(|rule| rule == level);
        assert!(of_others(&with(0, false), "warn") && with(0, false).contains("deltalake=off"));
        assert!(of_others(&with(0, true), "error"));
        assert!(with(1, false).contains("lake_jobs=info") && with(1, false).contains("delta_kernel=off"));
        assert!(with(2, false).contains("lake=debug"));
    }

    #[test]
    fn our_variable_wins_over_the_common_one() {
        assert_eq!(chosen(GlobalArguments::default(), &[("LAKE_LOG", "info"), ("RUST_LOG", "debug")]), "info");
        assert_eq!(chosen(GlobalArguments::default(), &[("RUST_LOG", "debug")]), "debug");
    }

    #[test]
    fn a_wrong_filter_is_refused_by_name() {
        let error = filter(&GlobalArguments::default(), &Environment::of(&[("LAKE_LOG", "lake=loud")], &[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`LAKE_LOG`"));
    }
}
