//! A proxy before an S3 server that does what networks and bad stores do: it loses, delays, cuts, repeats, and lies.
//!
//! Requests pass unchanged, the `Host` header too, which their signature covers. What happens to a request is drawn with a seed; with
//! requests in flight at the same time, which of them is hit still depends on their order.

mod fault;
mod forward;
mod lie;
mod serve;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use crate::s3::Endpoint;

pub use fault::{Fault, Rule};
pub use lie::Lie;

/// A request that came to a proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path and query, percent-encoded as they were sent.
    pub target: String,
    /// The status of the answer that was sent; `None` when there was none.
    pub status: Option<u16>,
    /// What went wrong with it, but for delays.
    pub fault: Option<Fault>,
    /// For how long it was held back.
    pub delay: Duration,
    /// Whether the answer, or what was done, was a lie.
    pub lied: bool,
}

/// A proxy on a port of the loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// What the connections of a proxy share.
#[derive(Debug)]
struct Shared {
    /// The server behind; its keys sign what the proxy changes.
    server: Endpoint,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    lie: Option<Lie>,
    random: StdRng,
    seen: Vec<Seen>,
    /// When each path was last written.
    written: HashMap<String, Instant>,
}

impl Proxy {
    /// A proxy that passes everything on, until it is told otherwise. The server need not run yet.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub fn before(server: &Endpoint, seed: u64) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a port");
        let random = StdRng::seed_from_u64(seed);
        let state = State { rules: vec![], lie: None, random, seen: vec![], written: HashMap::new() };
        let shared = Arc::new(Shared { server: server.clone(), state: Mutex::new(state) });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || serve::serve(listener, &shared, stopped)
        });
        Self { endpoint: server.through(address), shared, stop: Some(stop), thread: Some(thread) }
    }

    /// The address of the proxy with the keys of the server behind it.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Replaces what goes wrong from now on. Of the rules that hit a request the first counts; delays come on top.
    pub fn set_faults(&self, rules: impl IntoIterator<Item = Rule>) {
        self.shared.state().rules = rules.into_iter().collect();
    }

    /// Replaces how it lies from now on.
    pub fn set_lie(&self, lie: Option<Lie>) {
        self.shared.state().lie = lie;
    }

    /// Every request so far, in the order in which they were done with.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// How many requests so far are as `is` says.
    pub fn count(&self, is: impl Fn(&Seen) -> bool) -> usize {
        self.shared.state().seen.iter().filter(|seen| is(seen)).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.state().seen.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
