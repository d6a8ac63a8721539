//! Methods that are external programs: JSON in, NDJSON out.
//!
//! The program writes straight into an unnamed temporary file, so memory is bounded whatever it says, and nothing waits for a child
//! of it that keeps the output open. It runs in a process group of its own, which ends with it.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lake::{Error, ErrorKind, Result};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::fingerprint::Fingerprint;

const KEPT_LINES: usize = 20;
const KEPT_CHARS: usize = 500;

/// How long a program that was asked to stop may take.
const GRACE: Duration = Duration::from_secs(5);

/// How long what a program left behind may take to stop.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// A program to run.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// The method, for messages and logs.
    pub method: &'a str,
    /// The program and its arguments; no shell is asked.
    pub command: &'a [String],
    /// Written to standard input as one line of JSON. A program that does not read it is fine.
    pub inputs: &'a Value,
    /// Set on top of this process's environment.
    pub env: &'a [(String, String)],
    /// How long it may run.
    pub timeout: Duration,
}

/// What a program wrote.
#[derive(Debug)]
pub struct ProgramOutput {
    /// Standard output, from its start; it vanishes with this handle.
    pub stdout: File,
    /// Its length.
    pub bytes: u64,
    /// A hash of its content, never negative.
    pub fingerprint: i64,
}

/// Runs `program` to its end. Processes that it leaves behind in its group are stopped. When `cancel` completes first, or this
/// future is dropped, the whole group is stopped.
///
/// # Errors
/// [`ErrorKind::Data`] when it cannot be started, ends with another exit code than 0 or by a signal, or runs longer than its timeout;
/// [`ErrorKind::Cancelled`] when `cancel` completed; [`ErrorKind::Storage`] when there is no room for the output. The message of a
/// failed program ends with its last words on standard error.
pub async fn run_program(program: Program<'_>, cancel: impl Future<Output = ()> + Send) -> Result<ProgramOutput> {
    let stdout = tempfile::tempfile().map_err(no_room)?;
    let mut child = start(program, stdout.try_clone().map_err(no_room)?)?;
    let mut group = Group::of(&child);
    let feeding = child.stdin.take().map(|stdin| tokio::spawn(feed(stdin, program.inputs.to_string())));
    let listening = child.stderr.take().map(|stderr| tokio::spawn(listen(stderr, program.method.to_owned())));
    let end = tokio::select! {
        status = child.wait() => End::Exited(status),
        () = sleep(program.timeout) => End::TimedOut,
        () = cancel => End::Cancelled,
    };
    let grace = if matches!(end, End::Exited(_)) { LEFTOVER_GRACE } else { GRACE };
    group.stop(&mut child, grace).await;
    if let Some(feeding) = feeding {
        feeding.abort();
    }
    verdict(program, end, last_words(listening).await)?;
    measured(stdout).await
}

enum End {
    Exited(io::Result<ExitStatus>),
    TimedOut,
    Cancelled,
}

fn start(program: Program<'_>, stdout: File) -> Result<Child> {
    let Some((name, arguments)) = program.command.split_first() else {
        return Err(Error::new(ErrorKind::Config, format!("method `{}` names no program", program.method)));
    };
    Command::new(name)
        .args(arguments)
        .envs(program.env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| not_started(program.method, name, error))
}

fn not_started(method: &str, name: &str, error: io::Error) -> Error {
    let (why, hint) = match error.kind() {
        io::ErrorKind::NotFound if name.contains('/') && Path::new(name).exists() => {
            ("needs an interpreter that is not there", "check the first line of the program, which starts with `#!`")
        }
        io::ErrorKind::NotFound => {
            ("was not found", "install it on the `PATH`, or name it by its path, relative to the current directory")
        }
        io::ErrorKind::PermissionDenied => ("may not be executed", "make it executable, as with `chmod +x`"),
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            ("is not a program for this machine", "a script starts with a line such as `#!/usr/bin/env python3`")
        }
        _ => ("could not be started", "see the cause"),
    };
    Error::new(ErrorKind::Data, format!("program `{name}` of method `{method}` {why}")).with_hint(hint).with_source(error)
}

/// The process group of a child; killed when this is dropped before it has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // A group that has ended meanwhile is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    fn is_running(&self) -> bool {
        self.0.is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    /// Asks every process of the group to end, and kills what has not after `grace`.
    async fn stop(&mut self, child: &mut Child, grace: Duration) {
        let deadline = Instant::now() + grace;
        if self.is_running() {
            self.signal(Signal::TERM);
        }
        let mut pause = Duration::from_millis(2);
        loop {
            // The child must be reaped first: until then it counts as running.
            let _ = child.try_wait();
            if !self.is_running() {
                break;
            }
            if Instant::now() >= deadline {
                self.signal(Signal::KILL);
                let _ = child.wait().await;
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

async fn feed(mut stdin: ChildStdin, mut inputs: String) {
    inputs.push('\n');
    // A program that has read enough closes the pipe; how it ends is what counts.
    let _ = stdin.write_all(inputs.as_bytes()).await;
    let _ = stdin.shutdown().await;
}

/// Passes standard error on to the log, line by line, and keeps the end of it.
async fn listen(mut stderr: ChildStderr, method: String) -> VecDeque<String> {
    let (mut kept, mut line) = (VecDeque::new(), Vec::new());
    let mut chunk = vec![0; 8 << 10];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        for (index, part) in chunk[..read].split(|b| *b == b'\n').enumerate() {
            if index > 0 {
                keep(&mut kept, &mut line, &method);
            }
            // A character has at most four bytes; the rest of a longer line is passed over.
            let room = (KEPT_CHARS * 4).saturating_sub(line.len()).min(part.len());
            line.extend_from_slice(&part[..room]);
        }
    }
    keep(&mut kept, &mut line, &method);
    kept
}

fn keep(kept: &mut VecDeque<String>, line: &mut Vec<u8>, method: &str) {
    let text: String = String::from_utf8_lossy(line).trim_end().chars().take(KEPT_CHARS).collect();
    line.clear();
    if text.is_empty() {
        return;
    }
    tracing::info!(method, "{text}");
    if kept.len() == KEPT_LINES {
        kept.pop_front();
    }
    kept.push_back(text);
}

/// What is kept of standard error, as the end of a message. A process that left the group may hold it open, so nobody waits for long.
async fn last_words(listening: Option<JoinHandle<VecDeque<String>>>) -> String {
    let Some(mut listening) = listening else { return String::new() };
    let kept = match timeout(Duration::from_secs(1), &mut listening).await {
        Ok(kept) => kept.unwrap_or_default(),
        Err(_) => {
            listening.abort();
            VecDeque::new()
        }
    };
    match kept.is_empty() {
        true => String::new(),
        false => kept.iter().fold("; its last words were:".to_owned(), |all, line| all + "\n    " + line),
    }
}

fn verdict(program: Program<'_>, end: End, words: String) -> Result<()> {
    let method = program.method;
    let failed = |what: String| Error::new(ErrorKind::Data, format!("method `{method}` {what}{words}"));
    match end {
        End::Cancelled => Err(Error::new(ErrorKind::Cancelled, format!("method `{method}` was stopped"))),
        End::TimedOut => Err(failed(format!("was stopped: it ran longer than its {} s", program.timeout.as_secs_f64()))
            .with_hint("raise the method's timeout, or ask it for less")),
        End::Exited(Err(error)) => Err(failed("could not be waited for".to_owned()).with_source(error)),
        End::Exited(Ok(status)) if status.success() => Ok(()),
        End::Exited(Ok(status)) => Err(match (status.code(), status.signal()) {
            (None, Some(9)) => failed("was killed by signal 9".to_owned()).with_hint("the system may have run out of memory"),
            (None, Some(signal)) => failed(format!("was killed by signal {signal}")),
            (Some(127), _) => failed("ended with exit code 127".to_owned()).with_hint("a command that it calls was not found"),
            (code, _) => failed(format!("ended with exit code {}", code.unwrap_or(-1)))
                .with_hint("nothing of its output was taken; a program that succeeds ends with exit code 0"),
        }),
    }
}

async fn measured(mut stdout: File) -> Result<ProgramOutput> {
    let measuring = move || -> io::Result<ProgramOutput> {
        let mut fingerprint = Fingerprint::default();
        let (mut bytes, mut chunk) = (0, vec![0; 256 << 10]);
        stdout.rewind()?;
        loop {
            let read = stdout.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            fingerprint.bytes(&chunk[..read]);
            bytes += read as u64;
        }
        stdout.rewind()?;
        Ok(ProgramOutput { stdout, bytes, fingerprint: fingerprint.finish() })
    };
    match tokio::task::spawn_blocking(measuring).await {
        Ok(output) => output.map_err(no_room),
        Err(error) => Err(Error::new(ErrorKind::Internal, "reading a program's output stopped").with_source(error)),
    }
}

fn no_room(error: io::Error) -> Error {
    Error::new(ErrorKind::Storage, format!("the output of a program cannot be kept in a temporary file: {error}"))
        .with_hint("`TMPDIR` names the folder for temporary files")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::super::format::{Format, Input, ReadOptions, open};
    use super::*;

    async fn run(command: &[&str], seconds: f64) -> Result<ProgramOutput> {
        let command: Vec<String> = command.iter().map(|c| (*c).to_owned()).collect();
        let env = [("EXTRA".to_owned(), "from the caller".to_owned())];
        let inputs = json!({ "username": "rustlang", "n": 3 });
        let program = Program {
            method: "crawler",
            command: &command,
            inputs: &inputs,
            env: &env,
            timeout: Duration::from_secs_f64(seconds),
        };
        run_program(program, pending()).await
    }

    async fn shell(script: &str) -> Result<ProgramOutput> {
        run(&["sh", "-c", script], 20.0).await
    }

    fn text(mut output: ProgramOutput) -> String {
        let mut text = String::new();
        output.stdout.read_to_string(&mut text).unwrap();
        assert_eq!(output.bytes, text.len() as u64);
        text
    }

    fn is_alive(id: &str) -> bool {
        // A zombie that nobody reaps is dead all the same.
        std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).is_ok_and(|s| !s.contains(") Z "))
    }

    #[tokio::test]
    async fn inputs_go_in_as_json_and_output_comes_out() {
        let output = shell("cat; echo \"$EXTRA\"").await.unwrap();
        assert_eq!(text(output), "{\"username\":\"rustlang\",\"n\":3}\nfrom the caller\n");
    }

    #[tokio::test]
    async fn a_program_that_ignores_its_input_is_fine() {
        assert_eq!(text(shell("exec <&-; echo '{}'").await.unwrap()), "{}\n");
        let command = ["sh".to_owned(), "-c".to_owned(), "echo done".to_owned()];
        let inputs = json!("x".repeat(4 << 20));
        let program = Program { method: "m", command: &command, inputs: &inputs, env: &[], timeout: Duration::from_secs(20) };
        assert_eq!(text(run_program(program, pending()).await.unwrap()), "done\n");
    }

    #[tokio::test]
    async fn the_fingerprint_is_of_the_content() {
        let (one, same, other) =
            (shell("echo 1").await.unwrap(), shell("printf '1\\n'").await.unwrap(), shell("echo 2").await.unwrap());
        assert_eq!(one.fingerprint, same.fingerprint);
        assert_ne!(one.fingerprint, other.fingerprint);
        assert_eq!(shell(":").await.unwrap().bytes, 0);
    }

    #[tokio::test]
    async fn a_failed_program_is_told_with_its_last_words() {
        let error = shell("for i in $(seq 30); do echo line $i >&2; done; echo '{}'; exit 3").await.unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("method `crawler` ended with exit code 3; its last words were:\n    line 11\n"), "{message}");
        assert!(message.ends_with("line 30"));
        assert_eq!(error.kind(), ErrorKind::Data);
        let long = shell("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1").await.unwrap_err().to_string();
        assert_eq!(long.matches('x').count(), KEPT_CHARS + "exit".matches('x').count());
    }

    #[tokio::test]
    async fn a_signal_is_told() {
        let error = shell("kill -9 $$").await.unwrap_err();
        assert_eq!(error.to_string(), "method `crawler` was killed by signal 9");
        assert!(error.hint().unwrap().contains("memory"));
    }

    #[tokio::test]
    async fn a_program_that_does_not_start_is_told_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, text: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let plain = script("plain", "#!/bin/sh\necho", 0o644);
        let lost = script("lost", "#!/no/such/interpreter\n", 0o755);
        for (command, why, hint) in [
            ("no-such-program", "was not found", "PATH"),
            (plain.as_str(), "may not be executed", "chmod +x"),
            (lost.as_str(), "needs an interpreter that is not there", "#!"),
        ] {
            let error = run(&[command], 5.0).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (ErrorKind::Data, format!("program `{command}` of method `crawler` {why}"))
            );
            assert!(error.hint().unwrap().contains(hint));
        }
        assert_eq!(run(&[], 5.0).await.unwrap_err().kind(), ErrorKind::Config);
    }

    #[tokio::test]
    async fn a_timeout_ends_the_whole_tree() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ids");
        let script = format!("sleep 100 & echo $! >> {0}; (sleep 100 & echo $! >> {0}; wait); wait", file.display());
        let started = Instant::now();
        let error = run(&["sh", "-c", &script], 0.5).await.unwrap_err();
        assert_eq!(error.to_string(), "method `crawler` was stopped: it ran longer than its 0.5 s");
        assert!(started.elapsed() < Duration::from_secs(4), "the grace was waited out");
        let ids = std::fs::read_to_string(file).unwrap();
        assert_eq!(ids.lines().count(), 2);
        assert!(!ids.lines().any(is_alive));
    }

    #[tokio::test]
    async fn a_program_that_will_not_stop_is_killed() {
        let started = Instant::now();
        let error = run(&["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"], 0.2).await.unwrap_err();
        assert!(error.to_string().contains("was stopped"));
        assert!(started.elapsed() >= GRACE && started.elapsed() < GRACE * 3);
    }

    #[tokio::test]
    async fn children_that_linger_are_stopped_and_not_waited_for() {
        let started = Instant::now();
        let output = shell("sleep 100 & echo $!").await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
        assert!(!is_alive(&text(output)));
    }

    #[tokio::test]
    async fn cancelling_ends_the_program() {
        let command = ["sleep".to_owned(), "100".to_owned()];
        let program =
            Program { method: "m", command: &command, inputs: &Value::Null, env: &[], timeout: Duration::from_secs(60) };
        let error = run_program(program, sleep(Duration::from_millis(100))).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Cancelled, "method `m` was stopped"));
    }

    #[tokio::test]
    async fn dropping_the_run_kills_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("id");
        let script = format!("sleep 100 & echo $! > {}; wait", file.display());
        let _ = timeout(Duration::from_millis(500), run(&["sh", "-c", &script], 60.0)).await;
        sleep(Duration::from_millis(200)).await;
        assert!(!is_alive(&std::fs::read_to_string(file).unwrap()));
    }

    #[tokio::test]
    async fn much_output_goes_to_disk_and_garbage_is_the_readers() {
        let script = "echo '{\"a\":1}'; echo garbage; head -c 50000000 /dev/zero | tr '\\0' ' '; echo; printf '{\"a\":2}'";
        let output = shell(script).await.unwrap();
        assert_eq!(output.bytes, 50_000_000 + 8 + 8 + 1 + 7);
        let mut reader = open(Input::File(output.stdout), &ReadOptions::new(Format::Ndjson), "crawler").unwrap();
        let batch = reader.next_batch().unwrap().unwrap();
        assert_eq!(batch.source_rows.values(), &[1, 2, 4]);
        assert_eq!(arrow::array::Array::null_count(&batch.rescued), 2);
    }
}
