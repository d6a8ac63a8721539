//! Versity's gateway, an S3 server over a local folder: other code than MinIO's that makes the same promises.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::go_program;
use super::server::{Recipe, Server, answer_to};
use crate::s3::Endpoint;

const VERSION: &str = "v1.8.0";

/// A gateway.
#[derive(Debug)]
pub struct VersityGw {
    server: Server,
    recipe: VersityRecipe,
}

#[derive(Debug)]
struct VersityRecipe {
    program: PathBuf,
}

impl Deref for VersityGw {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl VersityGw {
    /// A fresh one.
    ///
    /// # Panics
    /// When it cannot be had, with a hint.
    pub fn start() -> Self {
        let program = go_program("versitygw", "github.com/versity/versitygw/cmd/versitygw", VERSION)
            .unwrap_or_else(|error| panic!("the S3 gateway cannot be had: {error}"));
        let recipe = VersityRecipe { program };
        let folder = tempfile::Builder::new().prefix("lake-versitygw-").tempdir().expect("a temporary folder");
        Self { server: Server::start(&recipe, folder), recipe }
    }

    /// Where it listens, and how to sign in.
    pub fn endpoint(&self) -> Endpoint {
        let (access_key, secret_key) = ("lake".into(), "lake-secret".into());
        Endpoint { address: self.server.address(), tls: false, access_key, secret_key }
    }

    /// Kills it if it runs and starts it again, at the same address with the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.server.run_again(&self.recipe);
    }
}

impl Recipe for VersityRecipe {
    fn command(&self, address: SocketAddr, folder: &Path) -> Command {
        let (data, accounts) = (folder.join("data"), folder.join("accounts"));
        for folder in [&data, &accounts] {
            std::fs::create_dir_all(folder).expect("a folder of the server");
        }
        let mut command = Command::new(&self.program);
        command.args(["--port", &address.to_string(), "--health", "/healthz", "--quiet", "--iam-dir"]).arg(accounts);
        command.arg("posix").arg(data).env("ROOT_ACCESS_KEY", "lake").env("ROOT_SECRET_KEY", "lake-secret");
        command
    }

    fn is_ready(&self, address: SocketAddr) -> bool {
        answer_to(address, &format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\n\r\n")).starts_with("HTTP/1.1 200")
    }
}
