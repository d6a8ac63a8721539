//! One request on its way to the server and back.

use std::error::Error;

use futures::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONNECTION, CONTENT_TYPE, EXPECT, HeaderMap, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep};

use super::fault::{Fault, draw};
use super::lie::{self, Lie};
use super::{Seen, Shared};

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Cut>;

/// Why a connection ends without an answer.
pub(super) type Cut = Box<dyn Error + Send + Sync>;

/// How long the first half of an answer has to get through before the connection ends.
const HALFWAY: Duration = Duration::from_millis(20);

/// Answers a request, or ends its connection.
pub(super) async fn answer(shared: &Shared, upstream: &mut Upstream, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let method = request.method().clone();
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let (delay, fault, lie) = {
        let mut state = shared.state();
        let state = &mut *state;
        let (delay, fault) = draw(&mut state.rules, &method, &target, &mut state.random);
        (delay, fault, state.lie)
    };
    let answered = served(shared, upstream, request, (delay, fault, lie)).await;
    let (status, lied) = answered.as_ref().map_or((None, false), |(answer, lied)| (Some(answer.status().as_u16()), *lied));
    let method = method.to_string();
    shared.state().seen.push(Seen { method, target, status, fault, delay, lied });
    answered.map(|(answer, _)| answer)
}

async fn served(
    shared: &Shared,
    upstream: &mut Upstream,
    request: Request<Incoming>,
    (delay, fault, lie): (Duration, Option<Fault>, Option<Lie>),
) -> Result<(Response<Body>, bool), Cut> {
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    sleep(delay).await;
    for name in [CONNECTION, TRANSFER_ENCODING, EXPECT] {
        parts.headers.remove(name);
    }
    parts.version = Version::HTTP_11;
    // A client may send the whole URL; a server is asked for the path.
    parts.uri = parts.uri.path_and_query().map(|p| p.as_str().parse()).transpose()?.unwrap_or_default();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_string());
    let request = Request::from_parts(parts, Full::new(body));
    match fault {
        Some(Fault::CutBefore) => return Err("cut before the request".into()),
        Some(Fault::Refuse(status)) => return Ok((refusal(StatusCode::from_u16(status)?), false)),
        Some(Fault::Duplicate) => {
            let (first, _) = lie::send(shared, upstream, request.clone(), lie).await?;
            first.into_body().collect().await?;
        }
        _ => {}
    }
    let (answer, lied) = lie::send(shared, upstream, request, lie).await?;
    if answer.status().is_success() {
        lie::remember(shared, &method, &path);
    }
    match fault {
        Some(Fault::CutAfter) => Err("cut after the request".into()),
        Some(Fault::Truncate) => Ok((truncated(answer).await?, lied)),
        _ => Ok((answer, lied)),
    }
}

/// The answer with half of its body and then nothing.
async fn truncated(answer: Response<Body>) -> Result<Response<Body>, Cut> {
    let (parts, body) = answer.into_parts();
    let mut body = body.collect().await?.to_bytes();
    if body.len() < 2 {
        return Err("cut in an answer without a body".into());
    }
    body.truncate(body.len() / 2);
    let half = stream::once(async { Ok(Frame::data(body)) });
    let end = stream::once(async {
        sleep(HALFWAY).await;
        Err(Cut::from("cut in the middle of the answer"))
    });
    Ok(Response::from_parts(parts, StreamBody::new(half.chain(end)).boxed_unsync()))
}

/// A server's answer as it came, its body streamed.
pub(super) fn whole(answer: Response<Incoming>) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        parts.headers.remove(name);
    }
    parts.version = Version::HTTP_11;
    Response::from_parts(parts, body.map_err(Cut::from).boxed_unsync())
}

/// A body of text.
pub(super) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed_unsync()
}

/// The answer of an S3 server that refuses.
pub(super) fn refusal(status: StatusCode) -> Response<Body> {
    let (code, message) = match status {
        StatusCode::PRECONDITION_FAILED => {
            ("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        }
        StatusCode::FORBIDDEN => {
            ("RequestTimeTooSkewed", "The difference between the request time and the server's time is too large.")
        }
        StatusCode::SERVICE_UNAVAILABLE => ("SlowDown", "Please reduce your request rate."),
        StatusCode::TOO_MANY_REQUESTS => ("TooManyRequests", "Please reduce your request rate."),
        _ => ("InternalError", "We encountered an internal error. Please try again."),
    };
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>proxy</RequestId></Error>"
    );
    let mut answer = Response::new(full(text));
    *answer.status_mut() = status;
    let headers: &mut HeaderMap = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// The connection to the server behind one connection of a client.
#[derive(Debug)]
pub(super) struct Upstream {
    address: std::net::SocketAddr,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Upstream {
    /// A connection that is made with its first request.
    pub(super) fn new(address: std::net::SocketAddr) -> Self {
        Self { address, sender: None }
    }

    /// The server's answer. A request is not sent twice, unless the server has closed the connection before.
    pub(super) async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Cut> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    self.sender = Some(sender);
                    return Ok(answer);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let (mut sender, connection) = handshake(TokioIo::new(TcpStream::connect(self.address).await?)).await?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        self.sender = Some(sender);
        Ok(answer)
    }
}
