//! A program that lives no longer than this process, even when this process is killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// Starts the program of its arguments with the log of `$1`, says its process id, and waits for a word on its standard input. Only this
/// process holds the other end of that, so it ends with this process at the latest. Then the program is killed and, unless the word was `leave`,
/// the folder in `$2` is removed.
const KEEPER: &str = r#"
log=$1; folder=$2; shift 2
"$@" </dev/null >>"$log" 2>&1 &
server=$!
echo $server
read -r word
kill -KILL $server
wait $server
[ "$word" = leave ] || rm -rf "$folder"
"#;

/// A running program.
#[derive(Debug)]
pub(super) struct Process {
    keeper: Child,
    orders: Option<ChildStdin>,
    id: u32,
}

impl Process {
    /// Starts `program` with a log and a folder of its own, which vanishes with it.
    ///
    /// # Errors
    /// When there is no shell to start it with.
    pub(super) fn start(program: &Command, log: &Path, folder: &Path) -> std::io::Result<Self> {
        // The file must be there before anyone reads it.
        File::options().create(true).append(true).open(log)?;
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper"]).args([log, folder]).arg(program.get_program()).args(program.get_args());
        shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // Not in the group of the terminal: the interrupt that ends this process must not end the keeper before its work is done.
        shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = shell.spawn()?;
        let orders = keeper.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let id = line.trim().parse().map_err(std::io::Error::other)?;
        Ok(Self { keeper, orders, id })
    }

    /// Stops all of its threads; when this returns, none runs.
    pub(super) fn pause(&self) {
        self.signal("STOP");
        while self.threads().iter().any(|state| !matches!(state, 'T' | 'Z' | 'X')) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets it go on.
    pub(super) fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id.to_string()]).status();
        assert!(sent.as_ref().is_ok_and(std::process::ExitStatus::success), "kill -{name} {}: {sent:?}", self.id);
    }

    /// Whether the program runs; one that has ended is a zombie until its keeper ends.
    pub(super) fn is_running(&self) -> bool {
        state_of(&PathBuf::from(format!("/proc/{}", self.id))).is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// The states of its threads, as `ps` writes them.
    fn threads(&self) -> Vec<char> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id));
        tasks.into_iter().flatten().flatten().filter_map(|task| state_of(&task.path())).collect()
    }

    /// Kills the program as `kill -9` does and keeps its folder.
    pub(super) fn kill(mut self) {
        if let Some(orders) = &mut self.orders {
            drop(orders.write_all(b"leave\n"));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.orders = None;
        drop(self.keeper.wait());
    }
}

fn state_of(task: &Path) -> Option<char> {
    // The name of the program stands before it in parentheses and may hold anything.
    std::fs::read_to_string(task.join("stat")).ok()?.rsplit(") ").next()?.chars().next()
}
