//! DataFusion's errors as ours, without row values.

use datafusion::common::DataFusionError;

use crate::error::{Error, ErrorKind};

/// This crate's error for one of DataFusion's. An error of ours that travelled through DataFusion comes out as it was.
pub fn query_error(what: &str, error: DataFusionError) -> Error {
    let error = match ours(error) {
        Ok(ours) => return ours,
        Err(error) => error,
    };
    let root = error.find_root();
    match root {
        DataFusionError::ResourcesExhausted(_) => {
            Error::new(ErrorKind::Memory, format!("{what}: the memory budget is too small"))
                .with_hint("give more with `--memory`, or ask for less at a time")
                .with_source(error)
        }
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => {
            let message = first_line(&root.strip_backtrace());
            Error::new(ErrorKind::Query, format!("{what}: {message}")).with_source(error)
        }
        // The text of a failed cast or overflow holds the value that failed.
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => {
            Error::new(ErrorKind::Data, format!("{what}: a value cannot be computed"))
                .with_hint("a cast or a function failed on a row; `TRY_CAST` gives null instead")
        }
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => {
            crate::storage::explain(what, error)
        }
        _ => {
            let message = first_line(&root.strip_backtrace());
            Error::new(ErrorKind::Query, format!("{what}: {message}")).with_source(error)
        }
    }
}

fn ours(error: DataFusionError) -> Result<Error, DataFusionError> {
    match error {
        DataFusionError::External(e) => e.downcast::<Error>().map(|e| *e).map_err(DataFusionError::External),
        DataFusionError::Context(context, inner) => ours(*inner).map_err(|e| DataFusionError::Context(context, Box::new(e))),
        DataFusionError::Diagnostic(d, inner) => ours(*inner).map_err(|e| DataFusionError::Diagnostic(d, Box::new(e))),
        other => Err(other),
    }
}

fn first_line(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    let text = ["Error during planning: ", "SQL error: ", "Schema error: ", "This feature is not implemented: "]
        .iter()
        .fold(text, |t, p| t.strip_prefix(p).unwrap_or(t));
    let text = text.strip_prefix("ParserError(\"").and_then(|t| t.strip_suffix("\")")).unwrap_or(text);
    text.trim_end_matches('.').replace("\\\"", "\"").replace("'lake.", "'")
}

/// The table that a query names and that does not exist.
pub(crate) fn missing_table(error: &DataFusionError) -> Option<String> {
    let DataFusionError::Plan(message) = error.find_root() else { return None };
    let name = message.strip_prefix("table '")?.split_once("' not found")?.0;
    Some(name.strip_prefix("lake.").unwrap_or(name).to_string())
}
