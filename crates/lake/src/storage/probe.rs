//! The truth probe: whether a store really creates an object only if it is absent, which is what Delta's commits rest on.

use std::collections::HashSet;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use serde::{Deserialize, Serialize};

/// Writers that race for one object, and how often they do.
const WRITERS: usize = 8;
const ROUNDS: usize = 6;

/// What a store makes of a put that must only create.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionalCreate {
    /// Of any number of writers one wins.
    Atomic,
    /// An object that is there is overwritten: the condition is ignored.
    Ignored,
    /// One writer after another is refused, but of several at once more than one wins.
    Racy,
    /// The store refuses such puts.
    Unsupported,
}

/// What the probe saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreTruth {
    /// `lake.store.v1`.
    pub schema: String,
    /// When.
    pub probed_at: DateTime<Utc>,
    /// Puts that must only create.
    pub conditional_create: ConditionalCreate,
    /// Most writers that were told they had won one race; 1 is right.
    pub most_winners: usize,
    /// Races that were run.
    pub races: usize,
    /// Whether a listing shows an object right after it was written.
    pub list_after_write: bool,
    /// Whether a read shows what was written last.
    pub read_after_write: bool,
}

impl StoreTruth {
    /// The name of the form.
    pub const SCHEMA: &str = "lake.store.v1";
}

/// Races conditional puts below `folder`, and lists and reads what was written. Everything it wrote is deleted.
///
/// # Errors
/// Those of the store: when it cannot be written at all.
pub(super) async fn probe(store: &dyn ObjectStore, folder: &Path) -> object_store::Result<StoreTruth> {
    let folder = folder.clone().join(uuid::Uuid::now_v7().to_string());
    let seen = look(store, &folder).await;
    let left: Vec<Path> = store.list(Some(&folder)).map_ok(|o| o.location).try_collect().await.unwrap_or_default();
    for path in left {
        // What stays is a few bytes below the lake's own folder.
        let _ = store.delete(&path).await;
    }
    seen
}

async fn look(store: &dyn ObjectStore, folder: &Path) -> object_store::Result<StoreTruth> {
    let mut truth = StoreTruth {
        schema: StoreTruth::SCHEMA.into(),
        probed_at: Utc::now(),
        conditional_create: ConditionalCreate::Atomic,
        most_winners: 1,
        races: 0,
        list_after_write: true,
        read_after_write: true,
    };
    let first = folder.clone().join("first");
    match create(store, &first, "1").await {
        Ok(true) => {}
        Ok(false) => truth.conditional_create = ConditionalCreate::Unsupported,
        Err(object_store::Error::NotImplemented { .. }) => truth.conditional_create = ConditionalCreate::Unsupported,
        // Is it the condition that is refused, or every put?
        Err(error) => match store.put(&first, PutPayload::from_static(b"1")).await {
            Ok(_) => truth.conditional_create = ConditionalCreate::Unsupported,
            Err(_) => return Err(error),
        },
    }
    if truth.conditional_create == ConditionalCreate::Atomic && create(store, &first, "2").await? {
        truth.conditional_create = ConditionalCreate::Ignored;
    }
    if truth.conditional_create == ConditionalCreate::Atomic {
        race(store, folder, &mut truth).await?;
    }
    store.put(&first, PutPayload::from_static(b"3")).await?;
    truth.read_after_write = store.get(&first).await?.bytes().await? == Bytes::from_static(b"3");
    for number in 0..3 {
        let path = folder.clone().join(format!("listed-{number}"));
        store.put(&path, PutPayload::from_static(b"x")).await?;
        let listed: HashSet<Path> = store.list(Some(folder)).map_ok(|o| o.location).try_collect().await?;
        truth.list_after_write &= listed.contains(&path);
    }
    Ok(truth)
}

async fn race(store: &dyn ObjectStore, folder: &Path, truth: &mut StoreTruth) -> object_store::Result<()> {
    for round in 0..ROUNDS {
        let path = folder.clone().join(format!("race-{round}"));
        let racers: Vec<_> = (0..WRITERS).map(|writer| format!("{round} {writer}")).collect();
        let path = &path;
        let ran: Vec<(String, object_store::Result<bool>)> = futures::stream::iter(racers)
            .map(|text| async move { (text.clone(), create(store, path, &text).await) })
            .buffer_unordered(WRITERS)
            .collect()
            .await;
        let winners: Vec<&String> = ran.iter().filter(|(_, won)| matches!(won, Ok(true))).map(|(text, _)| text).collect();
        truth.races += 1;
        truth.most_winners = truth.most_winners.max(winners.len());
        // A writer whose answer was lost, and who asked again, may not know that it won.
        let unsure = winners.is_empty() || ran.iter().any(|(_, won)| won.is_err());
        let kept = store.get(path).await?.bytes().await?;
        let overwritten = !unsure && !winners.iter().any(|w| w.as_bytes() == kept.as_ref());
        if winners.len() > 1 || overwritten {
            truth.conditional_create = ConditionalCreate::Racy;
        }
    }
    Ok(())
}

/// Whether `text` was put where nothing was.
async fn create(store: &dyn ObjectStore, path: &Path, text: &str) -> object_store::Result<bool> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(path, PutPayload::from(text.to_owned()), options).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn an_honest_store_is_believed_and_left_clean() {
        let store = InMemory::new();
        let truth = probe(&store, &Path::from("_lake/probe")).await.unwrap();
        assert_eq!(truth.conditional_create, ConditionalCreate::Atomic);
        assert_eq!((truth.most_winners, truth.races), (1, ROUNDS));
        assert!(truth.list_after_write && truth.read_after_write);
        assert_eq!(store.list(None).count().await, 0);
    }
}
