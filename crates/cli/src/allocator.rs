//! The allocator, and how soon it gives back what it has no use for.

/// Returns memory to the system sooner than the system's own, so that a memory budget means what it says.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The allocator's own name for the milliseconds it keeps freed pages.
const DELAY_VARIABLE: &str = "MIMALLOC_PURGE_DELAY";

/// How long freed pages are kept under a budget, in milliseconds. By default it is a second, in which a job frees and takes hundreds of megabytes.
const DELAY: &str = "10";

/// Starts the program again in its own place with freed pages given back at once: the allocator reads its settings from the environment, before
/// the program's first line. Returns when that has been done, or cannot be.
#[cfg(unix)]
pub(crate) fn give_back_early() {
    use std::os::unix::process::CommandExt;

    if std::env::var_os(DELAY_VARIABLE).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        let error = std::process::Command::new(program).arg0(name).args(arguments).env(DELAY_VARIABLE, DELAY).exec();
        tracing::debug!(%error, "freed memory is given back late");
    }
}

/// Only where a process can take its own place.
#[cfg(not(unix))]
pub(crate) fn give_back_early() {}
