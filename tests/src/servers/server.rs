//! A server of any kind: started, waited for, killed, started again.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;

use super::process::Process;

/// Ports that systems do not give to outgoing connections, so that a server that was killed finds its port free again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Far longer than any of them takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a server is started, and how it shows that it is ready.
pub(super) trait Recipe {
    /// The command that serves at `address` with its data below `folder`.
    fn command(&self, address: SocketAddr, folder: &Path) -> Command;

    /// Whether the server at `address` answers as it should.
    fn is_ready(&self, address: SocketAddr) -> bool;
}

/// What all servers of the tests have in common: a port of the loopback, and a folder. Dropped, a server is gone with all its data.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    folder: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready, with what it said.
    pub(super) fn start(recipe: &dyn Recipe, folder: tempfile::TempDir) -> Self {
        // From here on the keeper of the process removes it.
        let folder = folder.keep();
        let mut attempts = 5;
        loop {
            let server = Self { address: free_address(), folder: folder.clone(), process: Mutex::new(None) };
            attempts -= 1;
            match server.try_run(recipe) {
                Ok(()) => return server,
                // Another program may have taken the port in the meantime.
                Err(_) if attempts > 0 => server.kill(),
                Err(said) => panic!("the server did not start: {said}"),
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it said since it was first started.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Kills it with signal 9. Its data stay for its `restart`.
    pub fn kill(&self) {
        if let Some(process) = self.process().take() {
            process.kill();
        }
    }

    /// Stops it in its tracks: connections stay open, and nothing is answered.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.process().as_ref().expect("a server that runs").pause();
    }

    /// Lets it go on after [`Server::pause`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self) {
        self.process().as_ref().expect("a server that runs").resume();
    }

    /// Kills it if it runs, starts it at the same address with the same data, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready, with what it said.
    pub(super) fn run_again(&self, recipe: &dyn Recipe) {
        self.kill();
        if let Err(said) = self.try_run(recipe) {
            panic!("the server did not start again: {said}");
        }
    }

    fn try_run(&self, recipe: &dyn Recipe) -> Result<(), String> {
        // An attempt before this one that failed has taken the folder along.
        std::fs::create_dir_all(&self.folder).map_err(|error| error.to_string())?;
        let command = recipe.command(self.address, &self.folder);
        let process = Process::start(&command, &self.log_path(), &self.folder).map_err(|error| error.to_string())?;
        let process = self.process().insert(process).is_running_while(|| recipe.is_ready(self.address));
        process.map_err(|why| format!("{why}\n{}", self.log()))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that was killed before has nobody else to remove its folder.
        if self.process().take().is_none() {
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

impl Process {
    /// Waits until `ready`, as long as the program runs.
    fn is_running_while(&self, ready: impl Fn() -> bool) -> Result<(), String> {
        let started = Instant::now();
        while !ready() {
            if !self.is_running() {
                return Err("it ended".into());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("it was not ready within {PATIENCE:?}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // What answered may have been another program that had the port.
        if self.is_running() { Ok(()) } else { Err("it ended".into()) }
    }
}

fn free_address() -> SocketAddr {
    let mut random = rand::rng();
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, random.random_range(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// What a server answers to `request` before it closes the connection or falls silent; empty when it does not listen.
pub(super) fn answer_to(address: SocketAddr, request: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(Duration::from_secs(2)))?;
        connection.write_all(request.as_bytes())?;
        let mut answer = [0; 1_024];
        let read = connection.read(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    };
    ask().unwrap_or_default()
}
