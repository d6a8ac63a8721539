//! The HTTP client below an S3 store: counts what fails for the circuit breaker, and reads short answers whole so that one cut off is
//! asked for again.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use super::breaker::Breaker;

/// Makes clients that answer to a [`Breaker`].
#[derive(Debug)]
pub(crate) struct Watched(pub(crate) Arc<Breaker>);

impl HttpConnector for Watched {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service { inner, breaker: self.0.clone() }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    breaker: Arc<Breaker>,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Of a kind that is not tried again: the breaker has had its retries.
        self.breaker.admit(Instant::now()).map_err(|open| HttpError::new(HttpErrorKind::Unknown, open))?;
        let mut watch = Watch { breaker: &self.breaker, answered: false };
        let whole = is_short(&request);
        let writes = request.method().as_str() == "PUT";
        let (method, path, started) = (request.method().clone(), request.uri().path().to_owned(), Instant::now());
        let answer = match self.inner.execute(request).await {
            Ok(answer) if whole => read_whole(answer, writes).await,
            other => other,
        };
        watch.answered = true;
        let answer = answer.map_err(told);
        let status = answer.as_ref().map_or(0, |a| a.status().as_u16());
        tracing::trace!(%method, path, status, milliseconds = started.elapsed().as_millis(), "request");
        match &answer {
            Err(error) => self.breaker.failed(Instant::now(), &innermost(error)),
            Ok(answer) if answer.status().is_server_error() || matches!(answer.status().as_u16(), 408 | 429) => {
                self.breaker.failed(Instant::now(), &format!("HTTP status {}", answer.status()));
            }
            Ok(_) => self.breaker.succeeded(),
        }
        answer
    }
}

/// Tells the breaker of a request that was dropped before its answer came.
struct Watch<'a> {
    breaker: &'a Breaker,
    answered: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.breaker.abandoned();
        }
    }
}

/// Whether the answer is a document about objects, not the bytes of one.
fn is_short(request: &HttpRequest) -> bool {
    let listing = request.uri().query().is_some_and(|q| q.contains("list-type") || q.contains("uploads"));
    listing || !matches!(request.method().as_str(), "GET" | "HEAD")
}

/// An answer whose body ended too early did not arrive: say so here, where it can be asked for again.
async fn read_whole(answer: HttpResponse, writes: bool) -> Result<HttpResponse, HttpError> {
    let (mut parts, body) = answer.into_parts();
    let bytes: Bytes = body.bytes().await.map_err(|e| HttpError::new(HttpErrorKind::Interrupted, e))?;
    // MinIO cleans up its temporary files while it starts, those of requests at hand too, and says that what was to be written is not there.
    if writes
        && parts.status.as_u16() == 404
        && find(&bytes, b"<Code>NoSuchKey</Code>")
        && let Ok(unavailable) = 503_u16.try_into()
    {
        parts.status = unavailable;
    }
    Ok(HttpResponse::from_parts(parts, bytes.into()))
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// A transport error that says its innermost cause itself: some of those who pass it on keep only its words.
#[derive(Debug)]
struct Told {
    cause: String,
    error: HttpError,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.cause)
    }
}

impl std::error::Error for Told {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

fn told(error: HttpError) -> HttpError {
    let cause = innermost(&error);
    // A certificate is not trusted the next time either.
    let kind = if cause.contains("certificate") { HttpErrorKind::Unknown } else { error.kind() };
    HttpError::new(kind, Told { cause, error })
}

fn innermost(error: &HttpError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
