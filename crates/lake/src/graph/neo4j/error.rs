//! What Neo4j said, in words that say what to do. Its own messages can hold values, so only its codes are repeated.

use crate::error::{Error, ErrorKind};

/// Why one attempt failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection could not be made, or broke: the cause.
    Lost(String),
    /// No answer in time.
    Silent,
    /// User and password are refused.
    Refused,
    /// A code such as `Neo.TransientError.Transaction.DeadlockDetected`.
    Code(String),
    /// Something the driver does not understand.
    Unknown,
    /// Ours: not for another attempt.
    Ours(Error),
}

impl Fault {
    /// Whether another attempt may succeed.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Silent => true,
            Self::Refused | Self::Unknown | Self::Ours(_) => false,
            Self::Code(code) => PASSING.iter().any(|passing| code.starts_with(passing)),
        }
    }

    /// This crate's error: `what` was being done, with the store at `uri`.
    pub(super) fn explain(self, what: &str, uri: &str) -> Error {
        let storage = |why: String| Error::new(ErrorKind::Storage, format!("{what}: {why}"));
        let config = |why: String| Error::new(ErrorKind::Config, format!("{what}: {why}"));
        match self {
            Self::Ours(error) => error.context(what),
            Self::Lost(why) => storage(format!("Neo4j at {uri} cannot be reached: {why}")).with_hint(UNREACHABLE),
            Self::Silent => storage(format!("Neo4j at {uri} did not answer in time")).with_hint(UNREACHABLE),
            Self::Refused => config(format!("Neo4j at {uri} refuses the user or the password")).with_hint(CREDENTIALS),
            Self::Unknown => storage(format!("the server at {uri} does not answer as Neo4j does"))
                .with_hint("check `NEO4J_URI`: it names the Bolt port, usually 7687"),
            Self::Code(code) if code == "Neo.ClientError.Security.CredentialsExpired" => {
                config(format!("the password must be changed first, says Neo4j at {uri}")).with_hint(CREDENTIALS)
            }
            Self::Code(code) if code == "Neo.ClientError.Security.Forbidden" => {
                config("the user may not do that in Neo4j".to_owned())
                    .with_hint("give the user of `NEO4J_USER` the rights to write and to make constraints")
            }
            Self::Code(code) if code.starts_with("Neo.ClientError.Security.") => {
                config(format!("Neo4j at {uri} refuses the user or the password")).with_hint(CREDENTIALS)
            }
            Self::Code(code) if code == "Neo.ClientError.Database.DatabaseNotFound" => {
                config(format!("Neo4j at {uri} has no such database"))
                    .with_hint("correct `NEO4J_DATABASE`, or leave it out for `neo4j`")
            }
            Self::Code(code) => {
                let said = storage(format!("Neo4j answers `{code}`"));
                if code.contains("OutOfMemory") { said.with_hint("give Neo4j more memory, or ask for less") } else { said }
            }
        }
    }
}

impl From<neo4rs::Error> for Fault {
    fn from(error: neo4rs::Error) -> Self {
        use neo4rs::Error as Theirs;
        match error {
            Theirs::IOError { detail } => Self::Lost(detail.to_string()),
            Theirs::ConnectionError => Self::Lost("the connection broke".to_owned()),
            // The driver takes any refusal of its greeting for this one.
            Theirs::AuthenticationError(message) if message.contains("unavailable") => {
                Self::Lost("it is not available yet".to_owned())
            }
            Theirs::AuthenticationError(_) => Self::Refused,
            Theirs::Neo4j(error) => Self::Code(error.code().to_owned()),
            Theirs::UnexpectedMessage(message) => match code_in(&message) {
                Some(code) => Self::Code(code),
                None if message.contains("IOError") => Self::Lost("the connection broke".to_owned()),
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }
}

/// A code within the driver's own words.
fn code_in(message: &str) -> Option<String> {
    let start =
        ["Neo.ClientError.", "Neo.TransientError.", "Neo.DatabaseError."].iter().filter_map(|class| message.find(class)).min()?;
    Some(message[start..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect())
}

const PASSING: [&str; 5] = [
    "Neo.TransientError.",
    "Neo.DatabaseError.",
    "Neo.ClientError.Transaction.Terminated",
    "Neo.ClientError.Transaction.LockClientStopped",
    "Neo.ClientError.Cluster.NotALeader",
];
const UNREACHABLE: &str = "check `NEO4J_URI` and that the server runs, then run again: what was stored is kept";
const CREDENTIALS: &str = "check `NEO4J_USER` and `NEO4J_PASSWORD`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_in_the_drivers_words_and_nothing_else_is_repeated() {
        let said = "unexpected response for PULL: Ok(Failure(Failure { metadata: {code: \"Neo.TransientError.Transaction.DeadlockDetected\", message: \"secret\"}}))";
        let fault = Fault::from(neo4rs::Error::UnexpectedMessage(said.to_owned()));
        assert!(fault.is_passing());
        let error = fault.explain("cannot store nodes", "bolt://h");
        assert_eq!(error.to_string(), "cannot store nodes: Neo4j answers `Neo.TransientError.Transaction.DeadlockDetected`");
    }

    #[test]
    fn a_refused_password_is_not_tried_again() {
        let fault = Fault::from(neo4rs::Error::AuthenticationError("The client is unauthorized".to_owned()));
        assert!(!fault.is_passing());
        let error = fault.explain("cannot list nodes", "bolt://h");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint().unwrap().contains("NEO4J_PASSWORD"));
    }
}
