//! Connections to Neo4j, and the patience with it.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use neo4rs::{BoltList, BoltType, ConfigBuilder, Query, Row};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Neo4jOptions;
use super::error::Fault;
use crate::error::{Error, Result};

/// Requests at the same time; others wait.
const CONNECTIONS: usize = 8;
/// Rows that are fetched at a time.
const FETCH: usize = 5_000;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A statement with its parameters.
#[derive(Clone)]
pub(super) struct Statement {
    query: Query,
}

impl Statement {
    pub(super) fn new(text: String) -> Self {
        Self { query: Query::new(text) }
    }

    pub(super) fn with(self, name: &str, value: impl Into<BoltType>) -> Self {
        Self { query: self.query.param(name, value) }
    }

    pub(super) fn with_list(self, name: &str, value: Vec<BoltType>) -> Self {
        self.with(name, BoltType::List(BoltList { value }))
    }
}

/// What becomes of a statement's effects.
pub(super) enum End<'a> {
    /// They are kept if this has no objection to the answer.
    Keep(&'a (dyn Fn(&[Row]) -> Result<()> + Send + Sync)),
    /// They are taken back: for reading.
    TakeBack,
}

/// The connections to one database.
pub(super) struct Sessions {
    options: Neo4jOptions,
    /// Each is a pool of one connection. A connection whose request was not answered to its end is never used again: its answer would be
    /// taken for the next one's, which may be of another workspace.
    idle: Mutex<Vec<neo4rs::Graph>>,
    free: Semaphore,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(options: Neo4jOptions) -> Self {
        Self { options, idle: Mutex::default(), free: Semaphore::new(CONNECTIONS) }
    }

    pub(super) fn uri(&self) -> &str {
        &self.options.uri
    }

    /// Runs a statement that may be repeated, for as long as the patience lasts: `what` is being done.
    pub(super) async fn run(&self, what: &str, statement: &Statement, end: End<'_>) -> Result<Vec<Row>> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let fault = match self.attempt(statement, &end).await {
                Ok(rows) => return Ok(rows),
                Err(fault) => fault,
            };
            let left = self.options.patience.saturating_sub(started.elapsed());
            if !fault.is_passing() || left.is_zero() {
                return Err(fault.explain(what, self.uri()));
            }
            let random = pause.mul_f64(rand::random_range(0.5..1.0)).min(left);
            tracing::debug!(attempt, ?fault, "Neo4j is asked again");
            tokio::time::sleep(random).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            attempt += 1;
        }
    }

    /// Runs a query of a user once: one that takes too long would do so again.
    pub(super) async fn ask(&self, what: &str, statement: &Statement) -> Result<Vec<Row>> {
        match self.attempt(statement, &End::TakeBack).await {
            Err(Fault::Silent) => Err(too_long(what)),
            Err(fault) if fault.is_passing() => self.run(what, statement, End::TakeBack).await,
            other => other.map_err(|fault| fault.explain(what, self.uri())),
        }
    }

    async fn attempt(&self, statement: &Statement, end: &End<'_>) -> Result<Vec<Row>, Fault> {
        let _place = self.free.acquire().await.map_err(|_| Fault::Unknown)?;
        // The driver waits for ever for the rest of an answer that was cut off.
        let longest = self.options.patience.max(Duration::from_secs(5));
        tokio::time::timeout(longest, self.exchange(statement, end)).await.unwrap_or(Err(Fault::Silent))
    }

    async fn exchange(&self, statement: &Statement, end: &End<'_>) -> Result<Vec<Row>, Fault> {
        let idle = self.idle().pop();
        let session = match idle {
            Some(session) => session,
            None => self.connect().await?,
        };
        let mut transaction = session.start_txn().await?;
        let mut answer = transaction.execute(statement.query.clone()).await?;
        let mut rows = Vec::new();
        while let Some(row) = answer.next(transaction.handle()).await? {
            rows.push(row);
        }
        let objection = match end {
            End::Keep(check) => check(&rows).err(),
            End::TakeBack => None,
        };
        match (&objection, end) {
            (None, End::Keep(_)) => transaction.commit().await?,
            _ => transaction.rollback().await?,
        }
        self.idle().push(session);
        objection.map_or(Ok(rows), |error| Err(Fault::Ours(error)))
    }

    async fn connect(&self) -> Result<neo4rs::Graph, Fault> {
        let options = &self.options;
        let config = ConfigBuilder::new().uri(options.uri.as_str()).user(options.user.as_str());
        let config = config.password(options.password.as_str()).fetch_size(FETCH).max_connections(1);
        let config = match &options.database {
            Some(database) => config.db(database.as_str()),
            None => config,
        };
        Ok(neo4rs::Graph::connect(config.build()?).await?)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<neo4rs::Graph>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_long(what: &str) -> Error {
    Error::new(crate::ErrorKind::Query, format!("{what}: it took too long"))
        .with_hint("ask for less: name labels and ids, and shorten `*1..n`")
}
