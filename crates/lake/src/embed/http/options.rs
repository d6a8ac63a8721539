//! The settings of an embedding service.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};

pub(in crate::embed) const API_URL: &str = "LLM_API_URL";
pub(in crate::embed) const API_KEY: &str = "LLM_API_KEY";
pub(in crate::embed) const MODEL: &str = "LLM_EMBEDDING_MODEL";
pub(in crate::embed) const DIMENSIONS: &str = "LLM_EMBEDDING_DIMENSIONS";
pub(in crate::embed) const TOKENIZER: &str = "LLM_TOKENIZER";
pub(super) const BATCH: &str = "LLM_EMBEDDING_BATCH";
pub(super) const MAX_TOKENS: &str = "LLM_EMBEDDING_MAX_TOKENS";
pub(super) const RETRY: &str = "LLM_RETRY_SECONDS";
const CONCURRENCY: &str = "LLM_EMBEDDING_CONCURRENCY";
const REQUESTS_PER_MINUTE: &str = "LLM_REQUESTS_PER_MINUTE";

/// How to reach an embedding service, and what to ask of it.
#[derive(Clone)]
pub struct HttpEmbedderOptions {
    /// `LLM_API_URL`: the base address, such as `https://api.openai.com/v1`; `/embeddings` is appended unless it is there.
    pub url: String,
    /// `LLM_API_KEY`: sent as a bearer token.
    pub key: Option<String>,
    /// `LLM_EMBEDDING_MODEL`: the model's name at the service.
    pub model: String,
    /// `LLM_EMBEDDING_DIMENSIONS`: asked of the service, and expected of its answers. Without it, the first answer decides.
    pub dimensions: Option<usize>,
    /// `LLM_EMBEDDING_BATCH`: the most texts of one request; 64 unless said.
    pub batch: usize,
    /// `LLM_EMBEDDING_CONCURRENCY`: the most requests at a time; 4 unless said.
    pub concurrency: usize,
    /// `LLM_EMBEDDING_MAX_TOKENS`: longer texts are cut to so many tokens. Needs a tokenizer.
    pub max_tokens: Option<usize>,
    /// `LLM_TOKENIZER`: the model's `tokenizer.json`, to count tokens with.
    pub tokenizer: Option<PathBuf>,
    /// `LLM_REQUESTS_PER_MINUTE`: requests are spread evenly so as to be no more.
    pub requests_per_minute: Option<usize>,
    /// `LLM_RETRY_SECONDS`: for how long a request that fails is tried again; 60 seconds unless said.
    pub patience: Duration,
}

impl HttpEmbedderOptions {
    /// The usual settings for `model` at `url`.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            key: None,
            model: model.into(),
            dimensions: None,
            batch: 64,
            concurrency: 4,
            max_tokens: None,
            tokenizer: None,
            requests_per_minute: None,
            patience: Duration::from_secs(60),
        }
    }

    /// The settings by their variables. A blank one counts as not set.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the variable that is missing or cannot be.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let text = |name: &str| text(lookup, name);
        let url = text(API_URL).ok_or_else(|| missing(API_URL, "the base address of the embedding service"))?;
        let model =
            text(MODEL).ok_or_else(|| missing(MODEL, "the model's name at the service, such as `text-embedding-3-small`"))?;
        let usual = Self::new(url, model);
        Ok(Self {
            key: text(API_KEY),
            dimensions: number(lookup, DIMENSIONS)?,
            batch: number(lookup, BATCH)?.unwrap_or(usual.batch),
            concurrency: number(lookup, CONCURRENCY)?.unwrap_or(usual.concurrency),
            max_tokens: number(lookup, MAX_TOKENS)?,
            tokenizer: text(TOKENIZER).map(PathBuf::from),
            requests_per_minute: number(lookup, REQUESTS_PER_MINUTE)?,
            patience: patience(lookup)?.unwrap_or(usual.patience),
            ..usual
        })
    }
}

impl fmt::Debug for HttpEmbedderOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEmbedderOptions")
            .field("url", &Endpoint::parse(&self.url).map(|e| e.shown).ok())
            .field("key", &self.key.as_ref().map(|_| "***"))
            .field("model", &self.model)
            .field("dimensions", &self.dimensions)
            .field("batch", &self.batch)
            .field("concurrency", &self.concurrency)
            .field("max_tokens", &self.max_tokens)
            .field("tokenizer", &self.tokenizer)
            .field("requests_per_minute", &self.requests_per_minute)
            .field("patience", &self.patience)
            .finish()
    }
}

/// What the variable `name` says, if anything.
pub(in crate::embed) fn text(lookup: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The number, 1 or more, that the variable `name` says.
///
/// # Errors
/// [`ErrorKind::Config`] for another word.
pub(in crate::embed) fn number(lookup: &dyn Fn(&str) -> Option<String>, name: &str) -> Result<Option<usize>> {
    let Some(number) = parsed::<usize>(lookup, name, "write a whole number, 1 or more")? else { return Ok(None) };
    match number {
        0 => Err(Error::new(ErrorKind::Config, format!("`{name}` is 0")).with_hint("write a whole number, 1 or more")),
        number => Ok(Some(number)),
    }
}

fn patience(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Option<Duration>> {
    let seconds = parsed::<u32>(lookup, RETRY, "write a whole number of seconds, such as 60; 0 never tries again")?;
    Ok(seconds.map(|s| Duration::from_secs(s.into())))
}

fn parsed<N: FromStr>(lookup: &dyn Fn(&str) -> Option<String>, name: &str, hint: &str) -> Result<Option<N>> {
    let Some(text) = text(lookup, name) else { return Ok(None) };
    let wrong =
        || Error::new(ErrorKind::Config, format!("`{name}` is `{text}`, which is no number that can be used")).with_hint(hint);
    text.parse().map(Some).map_err(|_| wrong())
}

fn missing(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("`{name}` is not set")).with_hint(format!("set it to {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(pairs: &[(&str, &str)]) -> Result<HttpEmbedderOptions> {
        let find = |name: &str| pairs.iter().rfind(|(n, _)| *n == name).map(|(_, value)| value.to_string());
        HttpEmbedderOptions::from_lookup(&find)
    }

    const USUAL: [(&str, &str); 2] = [(API_URL, "http://h/v1?q=hidden"), (MODEL, "m")];

    #[test]
    fn what_is_not_said_is_as_usual() {
        let options = made(&[USUAL[0], USUAL[1], (API_KEY, " "), (BATCH, "")]).unwrap();
        assert_eq!((options.key, options.batch, options.concurrency), (None, 64, 4));
        assert_eq!((options.patience, options.requests_per_minute), (Duration::from_secs(60), None));
    }

    #[test]
    fn every_variable_is_read() {
        let all = [
            USUAL[0],
            USUAL[1],
            (API_KEY, "hidden"),
            (DIMENSIONS, "1"),
            (BATCH, "2"),
            (CONCURRENCY, "3"),
            (MAX_TOKENS, "4"),
            (TOKENIZER, "/t.json"),
            (REQUESTS_PER_MINUTE, "5"),
            (RETRY, "0"),
        ];
        let options = made(&all).unwrap();
        insta::assert_snapshot!(format!("{options:?}"));
    }

    #[test]
    fn wrong_settings_are_named() {
        let cases = [
            (API_URL, "", "`LLM_API_URL` is not set"),
            (MODEL, " ", "`LLM_EMBEDDING_MODEL` is not set"),
            (DIMENSIONS, "many", "`LLM_EMBEDDING_DIMENSIONS` is `many`"),
            (BATCH, "0", "`LLM_EMBEDDING_BATCH` is 0"),
            (CONCURRENCY, "-1", "`LLM_EMBEDDING_CONCURRENCY` is `-1`"),
            (MAX_TOKENS, "1.5", "`LLM_EMBEDDING_MAX_TOKENS` is `1.5`"),
            (REQUESTS_PER_MINUTE, "0", "`LLM_REQUESTS_PER_MINUTE` is 0"),
            (RETRY, "soon", "`LLM_RETRY_SECONDS` is `soon`"),
        ];
        for (name, value, expected) in cases {
            let error = made(&[USUAL[0], USUAL[1], (name, value)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
