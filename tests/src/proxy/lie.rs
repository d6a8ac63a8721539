//! What stores do that promise more than they keep.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::forward::{Body, Cut, Upstream, refusal, whole};
use super::{Shared, fault};
use crate::s3::{Signable, decoded, element, payload_hash, signature};

/// A way to be wrong without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// `If-None-Match` is ignored: every writer is told that it was the first.
    IgnoresConditions,
    /// A conditional write looks whether the object exists, waits for a time in between, and then writes whatever has happened: writers
    /// one after the other are told the truth, writers at the same time all win.
    LooksThenWrites(Duration, Duration),
    /// Listings lack what was written less than this ago.
    StaleListings(Duration),
    /// The clock is this many seconds ahead, or behind when negative: the `Date` of answers shows it, and requests that were signed more
    /// than 15 minutes away from it are refused, as S3 does.
    ClockOff(i64),
}

/// What S3 tolerates between its clock and that of a request.
const SKEW: TimeDelta = TimeDelta::minutes(15);

/// Sends a request on as a store with this lie does; tells whether it lied.
pub(super) async fn send(
    shared: &Shared,
    upstream: &mut Upstream,
    request: Request<Full<Bytes>>,
    lie: Option<Lie>,
) -> Result<(Response<Body>, bool), Cut> {
    match lie {
        Some(Lie::IgnoresConditions) if is_conditional(&request) => {
            Ok((whole(upstream.send(without_condition(shared, request)).await?), true))
        }
        Some(Lie::LooksThenWrites(least, most)) if is_conditional(&request) => {
            if upstream.send(look(shared, &request)).await?.status() == StatusCode::OK {
                return Ok((refusal(StatusCode::PRECONDITION_FAILED), false));
            }
            let pause = fault::between(least, most, &mut shared.state().random);
            tokio::time::sleep(pause).await;
            Ok((whole(upstream.send(without_condition(shared, request)).await?), true))
        }
        Some(Lie::StaleListings(age)) if is_listing(&request) => stale(shared, upstream.send(request).await?, age).await,
        Some(Lie::ClockOff(seconds)) => {
            let now = Utc::now() + TimeDelta::seconds(seconds);
            let signed = request.headers().get("x-amz-date").and_then(|date| time_of(date.to_str().ok()?));
            let mut answer = match signed {
                Some(signed) if (signed - now).abs() > SKEW => refusal(StatusCode::FORBIDDEN),
                _ => whole(upstream.send(request).await?),
            };
            let date = now.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
            answer.headers_mut().insert(DATE, HeaderValue::from_str(&date)?);
            Ok((answer, true))
        }
        _ => Ok((whole(upstream.send(request).await?), false)),
    }
}

fn is_conditional<B>(request: &Request<B>) -> bool {
    matches!(*request.method(), Method::PUT | Method::POST) && request.headers().contains_key(IF_NONE_MATCH)
}

fn is_listing<B>(request: &Request<B>) -> bool {
    *request.method() == Method::GET && request.uri().query().is_some_and(|query| query.contains("list-type=2"))
}

fn time_of(stamp: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(stamp, "%Y%m%dT%H%M%SZ").ok().map(|time| time.and_utc())
}

/// The request without its condition, signed anew, because clients sign the condition too.
fn without_condition(shared: &Shared, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    request.headers_mut().remove(IF_NONE_MATCH);
    sign(shared, &mut request);
    request
}

/// The question whether the object of a request exists.
fn look<B>(shared: &Shared, request: &Request<B>) -> Request<Full<Bytes>> {
    let mut question = Request::new(Full::default());
    *question.method_mut() = Method::HEAD;
    *question.uri_mut() = request.uri().path().parse().unwrap_or_default();
    for name in ["host", "x-amz-date"] {
        if let Some(value) = request.headers().get(name) {
            question.headers_mut().insert(name, value.clone());
        }
    }
    if let Ok(hash) = HeaderValue::from_str(&payload_hash(b"")) {
        question.headers_mut().insert("x-amz-content-sha256", hash);
    }
    sign(shared, &mut question);
    question
}

fn sign<B>(shared: &Shared, request: &mut Request<B>) {
    let is_signed = |name: &str| name == "host" || name.starts_with("x-amz-");
    let headers: Vec<(&str, &str)> = request
        .headers()
        .iter()
        .filter(|(name, _)| is_signed(name.as_str()))
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let (method, uri) = (request.method().as_str(), request.uri());
    let signable = Signable { method, path: uri.path(), query: uri.query().unwrap_or_default(), headers: &headers };
    if let Ok(value) = HeaderValue::from_str(&signature(&shared.server, &signable)) {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
}

/// A listing without the keys that were written a short time ago.
async fn stale(shared: &Shared, answer: Response<hyper::body::Incoming>, age: Duration) -> Result<(Response<Body>, bool), Cut> {
    let (mut parts, body) = answer.into_parts();
    let text = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
    let bucket = element(&text, "Name").unwrap_or_default().to_string();
    let is_url = element(&text, "EncodingType").is_some();
    let is_new = |entry: &str| {
        let key = element(entry, "Key").unwrap_or_default();
        let key = if is_url { decoded(key) } else { key.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") };
        shared.state().written.get(&format!("/{bucket}/{key}")).is_some_and(|when| when.elapsed() < age)
    };
    let mut pieces = text.split("<Contents>");
    let mut kept = pieces.next().unwrap_or_default().to_string();
    let mut lied = false;
    for piece in pieces {
        let (entry, rest) = piece.split_once("</Contents>").unwrap_or((piece, ""));
        if is_new(entry) {
            lied = true;
        } else {
            kept.extend(["<Contents>", entry, "</Contents>"]);
        }
        kept.push_str(rest);
    }
    set_length(&mut parts.headers, kept.len());
    Ok((Response::from_parts(parts, super::forward::full(kept)), lied))
}

fn set_length(headers: &mut HeaderMap, length: usize) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}

/// Remembers that a path was written.
pub(super) fn remember(shared: &Shared, method: &Method, path: &str) {
    if matches!(*method, Method::PUT | Method::POST) {
        let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
        shared.state().written.insert(path, Instant::now());
    }
}
