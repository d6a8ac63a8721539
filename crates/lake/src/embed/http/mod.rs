//! The embedder of any service with OpenAI's `/embeddings`: OpenAI itself, Ollama, vLLM, TEI, llama.cpp and others.

mod client;
mod complaint;
mod endpoint;
pub(super) mod options;
mod pace;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use self::client::{Answer, Client};
pub use self::options::HttpEmbedderOptions;
use self::options::{BATCH, DIMENSIONS, MAX_TOKENS, MODEL, TOKENIZER};
use super::Embedder;
use super::tokenizer::Tokens;
use super::vector::unit;
use crate::error::{Error, ErrorKind, Result};

/// The most bytes of texts in one request. A single text may have more.
const MOST_BYTES: usize = 256 << 10;

/// Asks an embedding service for vectors.
///
/// Texts go in batches, several at a time; a request that fails for a passing reason is sent again after a pause; a batch that is refused
/// is halved until the text that is at fault stands alone. Neither the key nor any text is part of an error, of `Debug` or of a log.
pub struct HttpEmbedder {
    client: Client,
    options: HttpEmbedderOptions,
    tokens: Option<Arc<Tokens>>,
    /// What cuts long texts, as the name has it.
    cut: Option<String>,
    /// Numbers of a vector; 0 before the first answer.
    seen: AtomicUsize,
    /// Held by who asks for the first answer.
    first: tokio::sync::Mutex<()>,
}

impl HttpEmbedder {
    /// An embedder by `options`. Nothing is asked of the service yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for options that cannot be, and for a tokenizer that cannot be read.
    pub fn new(options: HttpEmbedderOptions) -> Result<Self> {
        let client = Client::new(&options)?;
        if options.model.trim().is_empty() {
            return Err(Error::new(ErrorKind::Config, format!("`{MODEL}` is not set")));
        }
        if options.batch == 0 {
            return Err(Error::new(ErrorKind::Config, format!("`{BATCH}` is 0")).with_hint("write a whole number, 1 or more"));
        }
        let tokenizer = options.tokenizer.as_deref().map(read_tokenizer).transpose()?;
        let cut = match (options.max_tokens, &tokenizer) {
            (None, _) => None,
            (Some(most), Some((tokens, hash))) if most > tokens.added() => Some(format!("cut={most}@{hash}")),
            (Some(most), Some(_)) => {
                let message = format!("`{MAX_TOKENS}` is {most}, and the tokenizer adds as many to every text");
                return Err(Error::new(ErrorKind::Config, message).with_hint("give the model's own limit, such as 512 or 8191"));
            }
            (Some(_), None) => {
                return Err(Error::new(ErrorKind::Config, format!("`{MAX_TOKENS}` needs a tokenizer to count with"))
                    .with_hint(format!("name the model's `tokenizer.json` in `{TOKENIZER}`, or leave `{MAX_TOKENS}` out")));
            }
        };
        let (tokens, seen) = (tokenizer.map(|(tokens, _)| Arc::new(tokens)), AtomicUsize::new(options.dimensions.unwrap_or(0)));
        Ok(Self { client, options, tokens, cut, seen, first: tokio::sync::Mutex::new(()) })
    }

    /// The vectors of `range` of the texts, by one request or, when it is refused, by several smaller ones.
    async fn batch(&self, texts: &[String], range: Range<usize>) -> Result<Vec<Vec<f32>>> {
        let fitted = self.fitted(&texts[range.clone()]).await?;
        let fitted: Vec<&str> = fitted.iter().map(AsRef::as_ref).collect();
        let place =
            |at: usize| format!("text {} of {} ({} characters)", range.start + at + 1, texts.len(), fitted[at].chars().count());
        let mut vectors = Vec::with_capacity(fitted.len());
        let mut open: Vec<Range<usize>> = std::iter::once(0..fitted.len()).collect();
        while let Some(part) = open.pop() {
            match self.client.ask(&fitted[part.clone()]).await? {
                Answer::Vectors(made) => {
                    for (vector, at) in made.into_iter().zip(part) {
                        vectors.push(self.checked(vector, || place(at))?);
                    }
                }
                Answer::Refused(_) if part.len() > 1 => {
                    let middle = part.start + part.len() / 2;
                    open.extend([middle..part.end, part.start..middle]);
                }
                Answer::Refused(why) => return Err(self.refused(&place(part.start), &why)),
            }
        }
        Ok(vectors)
    }

    /// Texts no longer than the model takes.
    async fn fitted<'t>(&self, texts: &'t [String]) -> Result<Vec<Cow<'t, str>>> {
        let (Some(most), Some(tokens)) = (self.options.max_tokens, self.tokens.clone()) else {
            return Ok(texts.iter().map(|t| Cow::Borrowed(t.as_str())).collect());
        };
        let texts = texts.to_vec();
        let cutting = tokio::task::spawn_blocking(move || {
            let cut = |text: &String| tokens.cut(text, most).map(|cut| Cow::Owned(cut.to_owned()));
            texts.iter().map(cut).collect::<Option<Vec<_>>>()
        });
        let cut = cutting.await.map_err(|_| Error::new(ErrorKind::Internal, "texts could not be cut into tokens"))?;
        cut.ok_or_else(|| Error::new(ErrorKind::Data, "the tokenizer cannot take one of the texts"))
    }

    fn checked(&self, vector: Vec<f32>, place: impl Fn() -> String) -> Result<Vec<f32>> {
        let count = vector.len();
        let before = self.seen.compare_exchange(0, count, Ordering::Relaxed, Ordering::Relaxed);
        match before.err().unwrap_or(count) {
            expected if expected == count => {}
            expected if self.options.dimensions.is_some() => {
                let message = format!("`{DIMENSIONS}` is {expected}, and the embedding service gives vectors of {count} numbers");
                return Err(
                    Error::new(ErrorKind::Config, message).with_hint(format!("set `{DIMENSIONS}` to what the model can do"))
                );
            }
            expected => {
                let message =
                    format!("the embedding service gives vectors of {count} numbers, and gave some of {expected} before");
                return Err(Error::new(ErrorKind::Storage, message)
                    .with_hint(format!("check that `{MODEL}` is one model at the service")));
            }
        }
        unit(vector).ok_or_else(|| {
            let message = format!("the embedding service's vector for {} has no direction: all zero, or not finite", place());
            Error::new(ErrorKind::Data, message)
        })
    }

    fn refused(&self, place: &str, why: &str) -> Error {
        let refused = Error::new(ErrorKind::Data, format!("the embedding service refuses {place}: {why}"));
        match self.cut {
            Some(_) => refused,
            None => {
                refused.with_hint(format!("if it is too long: cut texts into chunks, or set `{MAX_TOKENS}` and `{TOKENIZER}`"))
            }
        }
    }
}

#[async_trait]
impl Embedder for HttpEmbedder {
    fn name(&self) -> String {
        let mut name = format!("{} {}", self.client.endpoint.shown, self.options.model);
        if let Some(dimensions) = self.options.dimensions {
            name = format!("{name}/{dimensions}");
        }
        match &self.cut {
            Some(cut) => format!("{name} {cut}"),
            None => name,
        }
    }

    async fn dimensions(&self) -> Result<usize> {
        let _first = self.first.lock().await;
        if self.seen.load(Ordering::Relaxed) == 0 {
            self.embed(&["dimensions".to_owned()]).await?;
        }
        Ok(self.seen.load(Ordering::Relaxed))
    }

    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>> {
        let work: Vec<_> = batches(texts, self.options.batch).into_iter().map(|range| self.batch(texts, range)).collect();
        let made: Vec<_> = stream::iter(work).buffered(self.options.concurrency.max(1)).try_collect().await?;
        Ok(made.into_iter().flatten().collect())
    }

    fn tokens(&self, text: &str) -> Option<usize> {
        self.tokens.as_ref()?.count(text)
    }
}

impl fmt::Debug for HttpEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEmbedder").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Ranges of `texts` for one request each, in order.
fn batches(texts: &[String], most: usize) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (at, text) in texts.iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if batch.len() < most && bytes + text.len() <= MOST_BYTES => batch.end += 1,
            _ => {
                batches.push(at..at + 1);
                bytes = 0;
            }
        }
        bytes += text.len();
    }
    batches
}

/// The tokenizer at `path`, and the beginning of the hash of its file.
fn read_tokenizer(path: &Path) -> Result<(Tokens, String)> {
    let bytes = std::fs::read(path).map_err(|e| {
        let message = format!("`{TOKENIZER}`: `{}` cannot be read: {e}", path.display());
        Error::new(ErrorKind::Config, message).with_hint("name the `tokenizer.json` of the model").with_source(e)
    })?;
    let tokens = Tokens::parse(&bytes, path).map_err(|e| e.context(format!("`{TOKENIZER}`")))?;
    Ok((tokens, format!("{:x}", Sha256::digest(&bytes))[..12].to_owned()))
}
