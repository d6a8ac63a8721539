//! Qdrant: its engine behind its gRPC interface, as `tests/python/qdrant_server.py` joins them.

use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use super::server::{Recipe, Server};
use crate::python::PythonEnv;

const REQUIREMENTS: &str = include_str!("../../python/qdrant-requirements.txt");

/// Where a Qdrant is, and the key that it asks for.
#[derive(Debug, Clone)]
pub struct QdrantAddress {
    /// Its URL.
    pub url: String,
    /// Its key, if it asks for one.
    pub api_key: Option<String>,
}

/// The Qdrant that the tests of one process share; each takes collections of its own. When `QDRANT_TEST_URL` is set it is that one, with the
/// key in `QDRANT_TEST_API_KEY`: a real server must keep the same promises.
///
/// # Panics
/// When it cannot be had, with a hint.
pub fn qdrant() -> QdrantAddress {
    static SHARED: LazyLock<Qdrant> = LazyLock::new(Qdrant::start);
    match std::env::var("QDRANT_TEST_URL") {
        Ok(url) => QdrantAddress { url, api_key: std::env::var("QDRANT_TEST_API_KEY").ok() },
        Err(_) => QdrantAddress { url: SHARED.url(), api_key: None },
    }
}

/// A Qdrant of its own for a test that harms it, or looks at what was sent to it.
#[derive(Debug)]
pub struct Qdrant {
    server: Server,
    recipe: QdrantRecipe,
}

/// A request that the server has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QdrantCall {
    /// As the gRPC interface calls it: `Points.Upsert`.
    pub method: String,
    /// The collection or alias it named.
    pub collection: String,
    /// How many points it stored or removed.
    pub points: u64,
    /// The code of its answer: `OK`.
    pub code: String,
}

#[derive(Debug)]
struct QdrantRecipe {
    python: PythonEnv,
    api_key: Option<String>,
}

impl Deref for Qdrant {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Qdrant {
    /// A fresh one that asks for no key.
    ///
    /// # Panics
    /// When it cannot be had, with a hint.
    pub fn start() -> Self {
        Self::start_with_key(None)
    }

    /// As [`Qdrant::start`], with a key that it asks for.
    ///
    /// # Panics
    /// As [`Qdrant::start`].
    pub fn start_with_key(api_key: Option<&str>) -> Self {
        let python = PythonEnv::of_server("qdrant", REQUIREMENTS).unwrap_or_else(|error| panic!("Qdrant cannot be had: {error}"));
        let recipe = QdrantRecipe { python, api_key: api_key.map(str::to_owned) };
        let folder = tempfile::Builder::new().prefix("lake-qdrant-").tempdir().expect("a temporary folder");
        Self { server: Server::start(&recipe, folder), recipe }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Kills it if it runs and starts it again, at the same address with the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.server.run_again(&self.recipe);
    }

    /// The requests it has answered since it was first started.
    ///
    /// # Panics
    /// When its notes cannot be read.
    pub fn calls(&self) -> Vec<QdrantCall> {
        let notes = std::fs::read_to_string(self.server.folder().join("calls.jsonl")).expect("the server's notes");
        let call = |note: &str| {
            let note: Value = serde_json::from_str(note).ok()?;
            let text = |key: &str| Some(note[key].as_str()?.to_owned());
            Some(QdrantCall {
                method: text("call")?,
                collection: text("collection")?,
                points: note["points"].as_u64()?,
                code: text("code")?,
            })
        };
        // A line that a kill has cut short is no call: its answer was not sent.
        notes.lines().filter_map(call).collect()
    }
}

impl Recipe for QdrantRecipe {
    fn command(&self, address: SocketAddr, folder: &Path) -> Command {
        let mut command = self.python.command("qdrant_server.py");
        command.args(["--address", &address.to_string(), "--folder"]).arg(folder);
        if let Some(key) = &self.api_key {
            command.args(["--api-key", key]);
        }
        command
    }

    fn is_ready(&self, address: SocketAddr) -> bool {
        // It listens when all of its collections are loaded.
        TcpStream::connect(address).is_ok()
    }
}
