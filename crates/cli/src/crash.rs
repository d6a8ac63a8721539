//! A bug in this program, told in one sentence. The message of a panic may hold values of rows, so it is not shown.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::ExitStatus;

/// Set by the first panic of any thread.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Replaces Rust's message by ours.
pub(crate) fn install() {
    panic::set_hook(Box::new(|info| {
        if info.location().is_some_and(|l| is_cleanup(l.file())) {
            return;
        }
        // One report is enough: what follows is mostly a consequence.
        if !PANICKED.swap(true, Ordering::SeqCst) {
            let _ = std::io::stderr().write_all(report(&place(info), &Backtrace::capture()).as_bytes());
        }
    }));
}

/// Whether `file` is where the storage library panics in a task of its own, when it gives up an upload that has failed already, as on a full disk. The
/// failure itself reaches the job as an error.
fn is_cleanup(file: &str) -> bool {
    file.contains("object_store") && file.ends_with("buffered.rs")
}

/// Runs the program to its end. A panic in any thread makes it fail, whatever became of the rest.
pub(crate) fn guard(program: impl FnOnce() -> ExitStatus) -> ExitStatus {
    let ended = panic::catch_unwind(AssertUnwindSafe(program)).unwrap_or(ExitStatus::Failed);
    after(ended, PANICKED.load(Ordering::SeqCst))
}

fn after(ended: ExitStatus, panicked: bool) -> ExitStatus {
    match ended {
        ExitStatus::Done | ExitStatus::Changes if panicked => ExitStatus::Failed,
        other => other,
    }
}

fn place(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(|| "an unknown place".to_owned(), |l| format!("{}:{}:{}", l.file(), l.line(), l.column()))
}

fn report(place: &str, backtrace: &Backtrace) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let sentence = format!(
        "\nerror: lake {version} met a bug of its own at {place}; every table is as its last commit left it; please report this place"
    );
    match backtrace.status() {
        BacktraceStatus::Captured => format!("{sentence}\n{backtrace}\n"),
        _ => format!("{sentence}, and with RUST_BACKTRACE=1 the way to it\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_place_and_the_version() {
        let text = report("src/a.rs:1:2", &Backtrace::disabled());
        assert!(text.contains("src/a.rs:1:2") && text.contains(env!("CARGO_PKG_VERSION")) && text.contains("please report"));
        assert_eq!(text.trim().lines().count(), 1);
    }

    #[test]
    fn a_panic_never_ends_well() {
        assert_eq!(after(ExitStatus::Done, true), ExitStatus::Failed);
        assert_eq!(after(ExitStatus::Changes, true), ExitStatus::Failed);
        assert_eq!(after(ExitStatus::Interrupted, true), ExitStatus::Interrupted);
        assert_eq!(after(ExitStatus::Done, false), ExitStatus::Done);
    }
}
