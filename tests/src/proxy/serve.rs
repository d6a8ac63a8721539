//! The connections of a proxy's clients.

use std::net::TcpListener;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{Mutex, oneshot};

use super::Shared;
use super::forward::{Upstream, answer};

/// Serves until the other end of `stopped` is gone; connections end with it.
pub(super) fn serve(listener: TcpListener, shared: &Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        listener.set_nonblocking(true).expect("a listener that does not block");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
        let accept = async {
            loop {
                if let Ok((connection, _)) = listener.accept().await {
                    drop(connection.set_nodelay(true));
                    tokio::task::spawn_local(converse(TokioIo::new(connection), Arc::clone(shared)));
                }
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

/// One connection: the requests on it come one after the other.
async fn converse(connection: TokioIo<tokio::net::TcpStream>, shared: Arc<Shared>) {
    let upstream = Arc::new(Mutex::new(Upstream::new(shared.server.address)));
    let service = service_fn(move |request| {
        let (shared, upstream) = (Arc::clone(&shared), Arc::clone(&upstream));
        async move { answer(&shared, &mut *upstream.lock().await, request).await }
    });
    // An error is what a cut is made of.
    drop(http1::Builder::new().serve_connection(connection, service).await);
}
