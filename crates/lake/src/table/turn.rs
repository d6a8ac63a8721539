//! Turns, so that nobody starves: a writer that others have overtaken asks for a turn, and those who come later wait until it has had it.
//!
//! Turns only order writers. That a commit is right never rests on them, so a turn that cannot be asked for is gone without.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::task::JoinHandle;

use crate::error::{ErrorKind, Result};
use crate::lake::Lake;
use crate::pipeline::TableName;

/// How often a writer that has a turn says that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A turn whose writer has been silent for so long is over.
const SILENT: Duration = Duration::from_secs(20);

/// How often a write without turns starts anew when others keep committing first.
const ATTEMPTS: u32 = 20;

/// Does `write` again, from its reading on, as long as another writer commits first, with random pauses.
///
/// # Errors
/// Those of `write`; [`ErrorKind::Conflict`] when it never came first.
pub(crate) async fn until_first<T, F: Future<Output = Result<T>>>(mut write: impl FnMut() -> F) -> Result<T> {
    let mut attempt = 0;
    loop {
        match write().await {
            Err(error) if error.kind() == ErrorKind::Conflict && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(rand::random_range(0..10 << attempt.min(7)))).await;
            }
            done => return done,
        }
    }
}

/// The turns of one table, as one writer sees them.
pub struct Turns {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    own: Option<Turn>,
}

struct Turn {
    path: Path,
    heartbeat: JoinHandle<()>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.heartbeat.abort();
    }
}

impl Turns {
    /// The turns of `table`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Config`] when the store cannot be used.
    pub fn of(lake: &Lake, table: &TableName) -> Result<Self> {
        let (store, prefix) = lake.bookkeeping()?;
        Ok(Self { store, folder: prefix.join("turns").join(table.to_string()), own: None })
    }

    /// Waits as long as others have asked for a turn before this writer.
    pub async fn wait(&self) {
        let mut seen: HashMap<Path, (DateTime<Utc>, Instant)> = HashMap::new();
        loop {
            let Ok(turns) = self.store.list(Some(&self.folder)).try_collect::<Vec<_>>().await else { return };
            let mut others = false;
            for turn in turns {
                // Names are in the order of their times.
                if self.own.as_ref().is_some_and(|own| turn.location >= own.path) {
                    continue;
                }
                let (beat, since) = seen.entry(turn.location.clone()).or_insert((turn.last_modified, Instant::now()));
                if *beat != turn.last_modified {
                    (*beat, *since) = (turn.last_modified, Instant::now());
                }
                if since.elapsed() < SILENT {
                    others = true;
                } else {
                    // Its writer has died.
                    let _ = self.store.delete(&turn.location).await;
                }
            }
            if !others {
                return;
            }
            tokio::time::sleep(Duration::from_millis(rand::random_range(50..150))).await;
        }
    }

    /// Asks for a turn, once.
    pub async fn ask(&mut self) {
        if self.own.is_some() {
            return;
        }
        let path = self.folder.clone().join(uuid::Uuid::now_v7().to_string());
        if self.store.put(&path, PutPayload::new()).await.is_err() {
            return;
        }
        let (store, place) = (self.store.clone(), path.clone());
        let heartbeat = tokio::spawn(async move {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                let _ = store.put(&place, PutPayload::new()).await;
            }
        });
        self.own = Some(Turn { path, heartbeat });
    }

    /// Gives the turn back, where there is one.
    pub async fn finish(mut self) {
        if let Some(turn) = self.own.take() {
            turn.heartbeat.abort();
            let _ = self.store.delete(&turn.path).await;
        }
    }
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Turns({})", self.folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn others_wait(turns: &Turns) -> bool {
        tokio::time::timeout(Duration::from_millis(300), turns.wait()).await.is_err()
    }

    #[tokio::test]
    async fn those_who_come_later_wait_until_the_turn_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let lake = Lake::builder().uri(folder.path().to_string_lossy()).build().unwrap();
        let table: TableName = "silver.posts".parse().unwrap();
        let (mut first, mut second, third) =
            (Turns::of(&lake, &table).unwrap(), Turns::of(&lake, &table).unwrap(), Turns::of(&lake, &table).unwrap());
        assert!(!others_wait(&third).await);
        first.ask().await;
        second.ask().await;
        assert!(!others_wait(&first).await && others_wait(&second).await && others_wait(&third).await);
        first.finish().await;
        assert!(!others_wait(&second).await && others_wait(&third).await);
        second.finish().await;
        assert!(!others_wait(&third).await);
    }
}
