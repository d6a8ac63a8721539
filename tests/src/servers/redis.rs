//! Redis.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::packaged_program;
use super::server::{Recipe, Server, answer_to};

/// A Redis that keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    server: Server,
    recipe: RedisRecipe,
}

#[derive(Debug)]
struct RedisRecipe {
    program: PathBuf,
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Redis {
    /// A fresh one.
    ///
    /// # Panics
    /// When it cannot be had, with a hint.
    pub fn start() -> Self {
        let hint = "install Redis 7 or newer (Debian: `apt-get install redis-server`)";
        let program = packaged_program("redis-server", hint).unwrap_or_else(|error| panic!("Redis cannot be had: {error}"));
        let recipe = RedisRecipe { program };
        let folder = tempfile::Builder::new().prefix("lake-redis-").tempdir().expect("a temporary folder");
        Self { server: Server::start(&recipe, folder), recipe }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.server.address())
    }

    /// Kills it if it runs and starts it again at the same address: empty.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&self) {
        self.server.run_again(&self.recipe);
    }

    /// What it answers to a command, as its protocol has it: `$3\r\nabc\r\n`.
    pub fn answer_to(&self, command: &str) -> String {
        answer_to(self.server.address(), &format!("{command}\r\n"))
    }
}

impl Recipe for RedisRecipe {
    fn command(&self, address: SocketAddr, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir"]).arg(folder);
        command
    }

    fn is_ready(&self, address: SocketAddr) -> bool {
        answer_to(address, "PING\r\n").starts_with("+PONG")
    }
}
