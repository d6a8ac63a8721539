//! One question to an embedding service, asked until it is answered or the patience ends.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::complaint::Complaint;
use super::endpoint::Endpoint;
use super::options::{API_KEY, API_URL, DIMENSIONS, HttpEmbedderOptions, MODEL, RETRY};
use super::pace::{Pace, Pauses};
use crate::error::{Error, ErrorKind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// The most bytes of an answer that are read: for each text, and of an error.
const MOST_PER_TEXT: usize = 1 << 20;
const MOST_OF_AN_ERROR: usize = 64 << 10;

/// What came of a question.
pub(super) enum Answer {
    /// A vector for each text, in order, as the service sent them.
    Vectors(Vec<Vec<f32>>),
    /// The service does not take the texts; what it says, fit to be shown.
    Refused(String),
}

enum Tried {
    Answered(Answer),
    Again { why: String, wait: Option<Duration> },
}

/// A client of one model.
pub(super) struct Client {
    http: reqwest::Client,
    pub(super) endpoint: Endpoint,
    key: Option<String>,
    model: String,
    dimensions: Option<usize>,
    patience: Duration,
    pace: Pace,
    permits: Semaphore,
}

impl Client {
    /// # Errors
    /// [`ErrorKind::Config`] for an address or a key that cannot be.
    pub(super) fn new(options: &HttpEmbedderOptions) -> Result<Self> {
        let endpoint = Endpoint::parse(&options.url)?;
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(Policy::none())
            .default_headers(headers(options.key.as_deref())?)
            .build()
            .map_err(|e| {
                Error::new(ErrorKind::Config, "cannot make a client for the embedding service").with_source(e.without_url())
            })?;
        Ok(Self {
            http,
            endpoint,
            key: options.key.clone(),
            model: options.model.clone(),
            dimensions: options.dimensions,
            patience: options.patience,
            pace: Pace::new(options.requests_per_minute),
            permits: Semaphore::new(options.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
        })
    }

    /// Asks for the vectors of `texts`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the service refuses whatever the texts are; [`ErrorKind::Storage`] when it gave no answer, or one that is
    /// none, for as long as the patience lasted.
    pub(super) async fn ask(&self, texts: &[&str]) -> Result<Answer> {
        let question = Question { model: &self.model, input: texts, encoding_format: "float", dimensions: self.dimensions };
        let body =
            serde_json::to_vec(&question).map_err(|_| Error::new(ErrorKind::Internal, "cannot write a request of texts"))?;
        let body = Bytes::from(body);
        let mut pauses = None;
        loop {
            let (why, wait) = match self.once(body.clone(), texts).await? {
                Tried::Answered(answer) => return Ok(answer),
                Tried::Again { why, wait } => (why, wait),
            };
            let pauses = pauses.get_or_insert_with(|| Pauses::new(self.patience));
            let Some(pause) = pauses.next(wait) else { return Err(self.gave_up(&why, wait)) };
            tracing::debug!(endpoint = self.endpoint.shown, why, milliseconds = pause.as_millis(), "asking again");
            match wait {
                Some(_) => self.pace.hold(pause),
                None => tokio::time::sleep(pause).await,
            }
        }
    }

    async fn once(&self, body: Bytes, texts: &[&str]) -> Result<Tried> {
        let _permit = self.permits.acquire().await.map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))?;
        self.pace.turn().await;
        let answer = match self.http.post(self.endpoint.url.clone()).body(body).send().await {
            Ok(answer) => answer,
            Err(error) => return self.lost(error),
        };
        let (status, wait) = (answer.status(), retry_after(answer.headers(), Utc::now()));
        if !status.is_success() {
            // The status says enough when the rest of an error does not come.
            let body = read(answer, MOST_OF_AN_ERROR).await.ok().flatten().unwrap_or_default();
            return self.refused(status, wait, &Complaint::parse(&body), texts);
        }
        match read(answer, MOST_PER_TEXT * (texts.len() + 1)).await {
            Ok(Some(body)) => vectors(&body, texts.len()).map(|v| Tried::Answered(Answer::Vectors(v))),
            Ok(None) => Err(malformed("is larger than any answer can be")),
            Err(error) => self.lost(error),
        }
    }

    fn refused(&self, status: StatusCode, wait: Option<Duration>, complaint: &Complaint, texts: &[&str]) -> Result<Tried> {
        let shown = complaint.shown(&self.model, texts, self.key.as_deref());
        let said = |what: &str| shown.as_ref().map_or_else(|| what.to_owned(), |shown| format!("{what}: {shown}"));
        let config = |message: String, hint: String| Err(Error::new(ErrorKind::Config, message).with_hint(hint));
        let code = complaint.code.as_deref().unwrap_or_default();
        match status.as_u16() {
            400 | 413 | 422 => match complaint.parameter.as_deref() {
                Some("dimensions") => {
                    config(said("the embedding service refuses the dimensions"), format!("check `{DIMENSIONS}`"))
                }
                Some("model") => config(said("the embedding service refuses the model"), format!("check `{MODEL}`")),
                _ if code == "model_not_found" => {
                    config(said("the embedding service has no such model"), format!("check `{MODEL}`"))
                }
                _ => Ok(Tried::Answered(Answer::Refused(said(&format!("HTTP status {}", status.as_u16()))))),
            },
            // As llama.cpp says it.
            500 if complaint.is_about_size() => Ok(Tried::Answered(Answer::Refused(said("HTTP status 500")))),
            // A service may repeat parts of the key here.
            401 | 403 => match self.key {
                Some(_) => {
                    config("the embedding service refuses the key".into(), format!("check `{API_KEY}` and what it may do"))
                }
                None => config("the embedding service wants a key".into(), format!("set `{API_KEY}`")),
            },
            404 => config(
                said(&format!("there are no embeddings of `{}` at `{}`", self.model, self.endpoint.shown)),
                format!("check the address in `{API_URL}` and the model in `{MODEL}`"),
            ),
            429 if code == "insufficient_quota" => {
                Err(Error::new(ErrorKind::Storage, "the quota at the embedding service is used up")
                    .with_hint("look at the account's plan and bills, then run again"))
            }
            408 | 409 | 425 | 429 | 500..=599 => {
                Ok(Tried::Again { why: said(&format!("HTTP status {}", status.as_u16())), wait })
            }
            300..=399 => config(
                format!("`{}` sends requests to another address", self.endpoint.shown),
                format!("set `{API_URL}` to the address where the service is"),
            ),
            other => {
                config(said(&format!("the embedding service answers with HTTP status {other}")), format!("check `{API_URL}`"))
            }
        }
    }

    /// A question or an answer that did not arrive.
    fn lost(&self, error: reqwest::Error) -> Result<Tried> {
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { innermost(&error) };
        // A certificate is not trusted the next time either.
        if why.contains("certificate") || error.is_builder() {
            return Err(Error::new(ErrorKind::Config, format!("cannot ask `{}`: {why}", self.endpoint.shown))
                .with_hint(format!("check `{API_URL}`, and that this machine trusts the service's certificate"))
                .with_source(error.without_url()));
        }
        Ok(Tried::Again { why, wait: None })
    }

    fn gave_up(&self, why: &str, wait: Option<Duration>) -> Error {
        let wait = wait.map(|w| format!(", and asks to wait {} seconds", w.as_secs())).unwrap_or_default();
        let message = format!("the embedding service at `{}` cannot be used: {why}{wait}", self.endpoint.shown);
        Error::new(ErrorKind::Storage, message).with_hint(format!(
            "check that it runs, then run again; `{RETRY}` says for how long to try, `LLM_REQUESTS_PER_MINUTE` how often"
        ))
    }
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a [&'a str],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
struct Body {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// The vectors of an answer, in the order of the texts.
fn vectors(body: &[u8], count: usize) -> Result<Vec<Vec<f32>>> {
    // The parser's own words may repeat what it read.
    let answer: Body = serde_json::from_slice(body)
        .map_err(|e| malformed(&format!("cannot be read (line {}, column {})", e.line(), e.column())))?;
    if answer.data.len() != count {
        return Err(malformed(&format!("has {} vectors for {count} texts", answer.data.len())));
    }
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; count];
    for (place, item) in answer.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(place);
        match vectors.get_mut(index) {
            Some(free @ None) => *free = Some(item.embedding),
            _ => return Err(malformed(&format!("has the index {index} twice or beyond its {count} texts"))),
        }
    }
    Ok(vectors.into_iter().flatten().collect())
}

fn malformed(why: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("the embedding service's answer {why}"))
        .with_hint(format!("check that `{API_URL}` is the base address of an OpenAI-compatible service"))
}

fn headers(key: Option<&str>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    if let Some(key) = key {
        let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
            .map_err(|_| Error::new(ErrorKind::Config, format!("`{API_KEY}` has characters that no key has")))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// The whole body; `None` when it is longer than `most`.
async fn read(mut answer: Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

/// How long the service asks to wait: it says so in seconds, or by the moment when it may be asked again.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let moment = DateTime::parse_from_rfc2822(said).ok()?;
    Some(moment.signed_duration_since(now).to_std().unwrap_or_default())
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    // An error without a cause shows the address, and what may be secret in it.
    if std::ptr::addr_eq(cause, error) { "the request failed".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_says_when_to_come_again() {
        let now = DateTime::parse_from_rfc2822("Wed, 21 Oct 2015 07:28:00 GMT").unwrap().to_utc();
        let asked = |said: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_str(said).unwrap())]);
            retry_after(&headers, now)
        };
        assert_eq!(asked("20"), Some(Duration::from_secs(20)));
        assert_eq!(asked("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:28:07 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:27:00 GMT"), Some(Duration::ZERO));
        assert_eq!((asked("soon"), asked("-1"), asked("NaN")), (None, None, None));
    }

    #[test]
    fn answers_that_are_none_are_told() {
        let cases = [
            ("<html>secret", "cannot be read (line 1, column 1)"),
            (r#"{"data":[{"embedding":"secret"}]}"#, "cannot be read"),
            (r#"{"data":[{"embedding":[null]}]}"#, "cannot be read"),
            (r#"{"data":[]}"#, "has 0 vectors for 2 texts"),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#, "has the index 0 twice"),
            (r#"{"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]}"#, "has the index 2 twice or beyond"),
        ];
        for (body, expected) in cases {
            let error = vectors(body.as_bytes(), 2).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        }
    }
}
