//! Requests to Qdrant, tried again while they fail in passing.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use qdrant_client::{Qdrant as Client, QdrantError};
use rand::RngExt;

use super::error::{Meaning, asked_pause, explain, meaning};
use super::options::{self, QdrantOptions};
use crate::error::{Error, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The way to one Qdrant.
pub(super) struct Wire {
    pub(super) url: String,
    client: Client,
    patience: Duration,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client holds the key.
        f.debug_struct("Wire").field("url", &self.url).field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl Wire {
    /// # Errors
    /// [`crate::ErrorKind::Config`] for options that cannot be.
    pub(super) fn new(options: &QdrantOptions) -> Result<Self> {
        let (url, client) = options::client(options)?;
        Ok(Self { url, client, patience: options.patience })
    }

    /// What Qdrant answers to a request that does `what`, as in `cannot store points`. All requests may be sent twice.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Storage`]; [`crate::ErrorKind::Config`] for the key.
    pub(super) async fn ask<T, F>(&self, what: &str, request: impl Fn(Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        self.ask_unless(what, |_| None, request).await
    }

    /// As [`Wire::ask`], where `expected` makes an error of its own of some answers.
    pub(super) async fn ask_unless<T, F>(
        &self,
        what: &str,
        expected: impl Fn(&QdrantError) -> Option<Error>,
        request: impl Fn(Client) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, QdrantError>>,
    {
        let (started, mut longest) = (Instant::now(), FIRST_PAUSE);
        loop {
            let error = match request(self.client.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if let Some(error) = expected(&error) {
                return Err(error);
            }
            longest = (longest * 3).min(LONGEST_PAUSE);
            let pause = rand::rng().random_range(FIRST_PAUSE..=longest).max(asked_pause(&error).unwrap_or_default());
            if meaning(&error) != Meaning::Passing || started.elapsed() + pause > self.patience {
                return Err(explain(what, &self.url, error));
            }
            tracing::debug!(what, ?pause, "Qdrant did not answer; trying again");
            tokio::time::sleep(pause).await;
        }
    }
}
