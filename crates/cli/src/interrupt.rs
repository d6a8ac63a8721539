//! Ctrl-C and SIGTERM: the first asks the command to end well, the second ends it at once.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::exit::ExitStatus;
use crate::printer::Printer;

/// A token that the first signal sets. Must be called inside the runtime; the second signal ends the process.
pub(crate) fn listen(printer: Arc<Printer>, ends_well: bool) -> CancellationToken {
    let token = CancellationToken::new();
    let set = token.clone();
    // Where signals cannot be listened to, the system ends the process as it always does.
    let Ok(mut signals) = Signals::listen() else { return token };
    tokio::spawn(async move {
        signals.next().await;
        if ends_well {
            printer.say("stopping after the step in progress; press Ctrl-C again to stop at once");
        }
        set.cancel();
        signals.next().await;
        printer.hide_bars();
        std::process::exit(i32::from(ExitStatus::Interrupted.code()));
    });
    token
}

/// The signals that ask to stop, from now on.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The signal that asks to stop, from now on.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
