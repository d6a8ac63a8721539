//! A lock around commits, for stores that cannot create an object only if it is absent: a lease on a Redis server.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use tokio::sync::Mutex;

use crate::error::{Error, ErrorKind, Result};

/// How long a lease lasts. Longer than [`HELD`], so that a request still on its way when its writer gave up has arrived or is lost before another
/// writer holds the lease.
pub(crate) const LEASE: Duration = Duration::from_secs(60);

/// How long the work under a lease may take.
pub(crate) const HELD: Duration = Duration::from_secs(30);

/// How long to wait for a lease that others hold.
const WAIT: Duration = Duration::from_secs(120);

/// How long to wait for an answer of the lock server.
const ANSWER: Duration = Duration::from_secs(5);

/// What to do about a store that cannot keep writers apart.
pub(crate) const ADVICE: &str = "set `LAKE_LOCK=redis://host:6379` so that writers take turns, or `LAKE_LOCK=single-writer` when only one process ever writes";

/// Deletes a lease only if it is still ours.
const RELEASE: &str = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";

/// How commits are kept from overwriting each other, as `LAKE_LOCK` says.
#[derive(Clone, PartialEq, Eq)]
pub enum LockSetting {
    /// `redis://[:password@]host[:port][/db]`, or `rediss://` with TLS: a lease on that server.
    Redis(String),
    /// `single-writer`: whoever set it vouches that there is one writer at a time.
    SingleWriter,
}

impl fmt::Debug for LockSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LockSetting::Redis(_) => "Redis",
            LockSetting::SingleWriter => "SingleWriter",
        })
    }
}

impl FromStr for LockSetting {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once("://") {
            None if text == "single-writer" => Ok(Self::SingleWriter),
            Some(("redis" | "rediss", _)) if redis::Client::open(text).is_ok() => Ok(Self::Redis(text.to_owned())),
            // The text may hold a password.
            _ => Err(Error::new(ErrorKind::Config, "`LAKE_LOCK` is not a lock").with_hint(
                "write `redis://host:6379`, with `rediss://` for TLS, or `single-writer` when only one process ever writes",
            )),
        }
    }
}

/// A lock that writers of several machines share.
#[async_trait]
pub(crate) trait CommitLock: fmt::Debug + Send + Sync {
    /// Waits for the lease on `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the lock server does not answer or others keep the lease.
    async fn acquire(&self, name: &str) -> Result<Lease>;

    /// Gives a lease back. One that cannot be given back runs out by itself.
    async fn release(&self, lease: Lease);

    /// Whether the server answers.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when it does not.
    async fn check(&self) -> Result<()>;
}

/// A lease that is held.
#[derive(Debug)]
pub(crate) struct Lease {
    name: String,
    token: String,
}

/// Leases as keys that expire.
pub(crate) struct RedisLock {
    client: redis::Client,
    place: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl fmt::Debug for RedisLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisLock({})", self.place)
    }
}

impl RedisLock {
    /// For the server at `url`. Nothing is connected yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `url` is none.
    pub(crate) fn new(url: &str) -> Result<Self> {
        let client = redis::Client::open(url).map_err(|_| Error::new(ErrorKind::Config, "`LAKE_LOCK` is not a Redis URL"))?;
        let place = client.get_connection_info().addr().to_string();
        Ok(Self { client, place, connection: Mutex::default() })
    }

    /// Sends one command; a connection that broke is made anew, once.
    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T> {
        let mut last = None;
        for _ in 0..2 {
            let asked = tokio::time::timeout(ANSWER, async {
                let mut connection = self.connect().await?;
                command.query_async::<T>(&mut connection).await
            });
            match asked.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = Some(self.unavailable(&error.to_string())),
                Err(_) => last = Some(self.unavailable("no answer within 5 s")),
            }
            *self.connection.lock().await = None;
        }
        Err(last.unwrap_or_else(|| self.unavailable("no answer")))
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref() {
            return Ok(connection.clone());
        }
        let connection = self.client.get_multiplexed_async_connection().await?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    fn unavailable(&self, why: &str) -> Error {
        Error::new(ErrorKind::Storage, format!("the lock server at `{}` cannot be used: {why}", self.place))
            .with_hint("`LAKE_LOCK` names it; nothing is committed without it, start it and run again")
    }
}

#[async_trait]
impl CommitLock for RedisLock {
    async fn acquire(&self, name: &str) -> Result<Lease> {
        let lease = Lease { name: format!("lake:lock:{name}"), token: uuid::Uuid::now_v7().to_string() };
        let mut command = redis::cmd("SET");
        let milliseconds = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        command.arg(&lease.name).arg(&lease.token).arg("NX").arg("PX").arg(milliseconds);
        let waiting = Instant::now();
        loop {
            let set: Option<String> = self.ask(&command).await?;
            // The answer to an earlier attempt may have been lost on its way back.
            if set.is_some()
                || self.ask::<Option<String>>(redis::cmd("GET").arg(&lease.name)).await?.as_ref() == Some(&lease.token)
            {
                return Ok(lease);
            }
            if waiting.elapsed() > WAIT {
                return Err(Error::new(ErrorKind::Storage, format!("other writers kept the lock of `{name}` for two minutes"))
                    .with_hint("run again; a writer that died lets go of it after a minute"));
            }
            tokio::time::sleep(Duration::from_millis(rand::random_range(5..40))).await;
        }
    }

    async fn release(&self, lease: Lease) {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(1).arg(&lease.name).arg(&lease.token);
        if let Err(error) = self.ask::<i64>(&command).await {
            tracing::warn!(%error, "a lock could not be given back; it runs out within a minute");
        }
    }

    async fn check(&self) -> Result<()> {
        self.ask::<String>(&redis::cmd("PING")).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_redis_url_or_a_promise() {
        assert_eq!("single-writer".parse::<LockSetting>().unwrap(), LockSetting::SingleWriter);
        assert!(matches!("redis://:secret@localhost:6379/1".parse(), Ok(LockSetting::Redis(_))));
        for wrong in ["", "redis", "http://x", "redis://", "dynamodb"] {
            let error = wrong.parse::<LockSetting>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.hint().is_some());
        }
        let shown = format!("{:?}", "redis://:secret@h".parse::<LockSetting>().unwrap());
        assert!(!shown.contains("secret"));
    }
}
