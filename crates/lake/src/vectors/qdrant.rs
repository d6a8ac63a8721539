//! Qdrant as a store of vectors.
//!
//! A generation is a collection `<name>-<generation>`; the alias `<name>` says which one is searched.

mod error;
mod filter;
mod options;
mod points;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use qdrant_client::QdrantError;
use qdrant_client::qdrant::facet_value::Variant;
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::with_payload_selector::SelectorOptions;
use qdrant_client::qdrant::{
    CollectionInfo, CountPointsBuilder, CreateAlias, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, FacetCountsBuilder, FieldType, HnswConfigDiffBuilder, KeywordIndexParamsBuilder,
    PayloadExcludeSelector, PayloadIncludeSelector, PointId, PointStruct, Query, QueryPointsBuilder, ScrollPointsBuilder,
    SearchParamsBuilder, UpsertPointsBuilder, VectorParams, VectorParamsBuilder,
};
use uuid::Uuid;

use super::condition::Condition;
use super::store::{Collection, FieldKind, Hit, Point, StoredPoint, VectorStore};
use crate::error::{Error, ErrorKind, Result};
use crate::workspace_id::{WORKSPACE_COLUMN, WorkspaceId};
use error::{Meaning, meaning};
pub use options::QdrantOptions;
use wire::Wire;

/// Requests that one call has under way.
const IN_FLIGHT: usize = 4;

/// Ids of a request that removes.
const MAX_IDS: usize = 1_000;

/// Points of a page of a listing.
const PAGE: u32 = 1_000;

/// Workspaces that are asked for at first.
const FIRST_WORKSPACES: u64 = 1_000;

/// Links of a point to others of its workspace. There are none across workspaces: no search follows them.
const LINKS: u64 = 16;

/// A Qdrant. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Qdrant {
    wire: Arc<Wire>,
    exact: bool,
    prefix: Arc<str>,
}

impl Qdrant {
    /// The Qdrant of `options`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an address or a key that cannot be.
    pub fn connect(options: &QdrantOptions) -> Result<Self> {
        Ok(Self { wire: Arc::new(Wire::new(options)?), exact: options.exact, prefix: options.prefix.as_str().into() })
    }

    async fn info(&self, name: &str) -> Result<Option<CollectionInfo>> {
        let what = format!("look at the collection `{name}`");
        let answer = self.wire.ask(&what, |client| async move {
            match client.collection_info(name).await {
                Err(error) if meaning(&error) == Meaning::NotFound => Ok(None),
                answer => answer.map(|answer| answer.result),
            }
        });
        answer.await
    }

    /// Gives whether it is this call that made it.
    async fn create(&self, name: &str, dimensions: usize) -> Result<bool> {
        let request = CreateCollectionBuilder::new(name)
            .vectors_config(VectorParamsBuilder::new(dimensions as u64, Distance::Cosine))
            .hnsw_config(HnswConfigDiffBuilder::default().m(0).payload_m(LINKS));
        let (request, what) = (&request, format!("create the collection `{name}`"));
        let answer = self.wire.ask(&what, |client| async move {
            match client.create_collection(request.clone()).await {
                Ok(_) => Ok(true),
                // Another process was faster, or an answer was lost: whatever the code, it is there.
                Err(error) if meaning(&error) != Meaning::Passing && client.collection_exists(name).await? => {
                    tracing::debug!(%error, "the collection is there already");
                    Ok(false)
                }
                Err(error) => Err(error),
            }
        });
        answer.await
    }

    async fn index(&self, name: &str, field: &str, kind: FieldKind) -> Result<()> {
        let Some(field_type) = field_type(kind) else { return Ok(()) };
        let mut request = CreateFieldIndexCollectionBuilder::new(name, filter::path(field)?, field_type).wait(true);
        if field == WORKSPACE_COLUMN {
            request = request.field_index_params(KeywordIndexParamsBuilder::default().is_tenant(true));
        }
        let (request, what) = (&request, format!("index `{field}` of the collection `{name}`"));
        self.wire.ask(&what, |client| async move { client.create_field_index(request.clone()).await.map(drop) }).await
    }

    async fn store(&self, name: &str, batch: Vec<PointStruct>) -> Result<()> {
        let request = &UpsertPointsBuilder::new(name, batch).wait(true).build();
        let what = format!("store points in the collection `{name}`");
        self.wire.ask(&what, |client| async move { client.upsert_points(request.clone()).await.map(drop) }).await
    }

    async fn remove(&self, name: &str, workspace: &WorkspaceId, ids: &[Uuid]) -> Result<()> {
        let request = &DeletePointsBuilder::new(name).points(filter::of_ids(workspace, ids)).wait(true).build();
        let what = format!("remove points from the collection `{name}`");
        self.wire.ask(&what, |client| async move { client.delete_points(request.clone()).await.map(drop) }).await
    }

    /// The points from `offset` on, and where the next page starts.
    async fn page(
        &self,
        name: &str,
        workspace: &WorkspaceId,
        offset: Option<PointId>,
    ) -> Result<(Vec<StoredPoint>, Option<PointId>)> {
        let hash_only = SelectorOptions::Include(PayloadIncludeSelector { fields: vec![points::HASH.into()] });
        let mut request = ScrollPointsBuilder::new(name)
            .filter(filter::of_workspace(workspace))
            .limit(PAGE)
            .with_payload(hash_only)
            .with_vectors(false);
        if let Some(offset) = offset {
            request = request.offset(offset);
        }
        let request = &request.build();
        let what = format!("list the collection `{name}`");
        let answer = self.wire.ask(&what, |client| async move { client.scroll(request.clone()).await }).await?;
        let page = answer.result.into_iter().map(points::to_stored).collect::<Result<_>>()?;
        Ok((page, answer.next_page_offset))
    }

    /// By alias, the collection it stands for.
    async fn aliases(&self) -> Result<BTreeMap<String, String>> {
        let answer = self.wire.ask("list the aliases", |client| async move { client.list_aliases().await }).await?;
        Ok(answer.aliases.into_iter().map(|a| (a.alias_name, a.collection_name)).collect())
    }

    async fn remove_other_generations(&self, collection: &Collection, aliases: &BTreeMap<String, String>) -> Result<()> {
        let answer = self.wire.ask("list the collections", |client| async move { client.list_collections().await }).await?;
        for other in answer.collections.into_iter().map(|c| c.name) {
            // What an alias stands for is somebody's, such as a process that has published since.
            if is_other_generation(collection, &other) && !aliases.values().any(|used| *used == other) {
                let (name, what) = (&other, format!("remove the collection `{other}`"));
                self.wire.ask(&what, |client| async move { client.delete_collection(name).await.map(drop) }).await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl VectorStore for Qdrant {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn describe(&self) -> String {
        format!("Qdrant at {}", self.wire.url)
    }

    async fn prepare(&self, collection: &Collection) -> Result<bool> {
        let name = &real_name(collection);
        let (mut info, mut made) = (self.info(name).await?, false);
        if info.is_none() {
            made = self.create(name, collection.dimensions).await?;
            info = self.info(name).await?;
        }
        let Some(info) = info else {
            return Err(Error::new(ErrorKind::Storage, format!("the collection `{name}` was removed while it was prepared"))
                .with_hint("another run may publish another generation of it: run again"));
        };
        check_vectors(name, collection.dimensions, &info)?;
        let fields = collection.payload.iter().map(|field| (field.name.as_str(), field.kind));
        for (field, kind) in [(WORKSPACE_COLUMN, FieldKind::Keyword)].into_iter().chain(fields) {
            if !info.payload_schema.contains_key(&filter::path(field)?) {
                self.index(name, field, kind).await?;
            }
        }
        Ok(!made)
    }

    async fn upsert(&self, collection: &Collection, points: Vec<Point>) -> Result<()> {
        let name = &real_name(collection);
        // Of points with the same id the last counts; requests that are under way together have no order.
        let latest: BTreeMap<Uuid, Point> = points.into_iter().map(|point| (point.id, point)).collect();
        let batches = stream::iter(points::batches(latest.into_values()).map(Ok));
        batches.try_for_each_concurrent(IN_FLIGHT, |batch| self.store(name, batch)).await
    }

    async fn delete(&self, collection: &Collection, workspace: &WorkspaceId, ids: &[Uuid]) -> Result<()> {
        let name = &real_name(collection);
        let batches = stream::iter(ids.chunks(MAX_IDS).map(Ok));
        batches.try_for_each_concurrent(IN_FLIGHT, |ids| self.remove(name, workspace, ids)).await
    }

    async fn publish(&self, collection: &Collection) -> Result<()> {
        let (alias_name, collection_name) = (collection.name.clone(), real_name(collection));
        let mut aliases = self.aliases().await?;
        if aliases.get(&alias_name) != Some(&collection_name) {
            // It takes the place of the alias of that name at once.
            let request = &CreateAlias { collection_name: collection_name.clone(), alias_name: alias_name.clone() };
            let what = format!("publish the collection `{collection_name}`");
            self.wire.ask(&what, |client| async move { client.create_alias(request.clone()).await.map(drop) }).await?;
            aliases = self.aliases().await?;
        }
        self.remove_other_generations(collection, &aliases).await
    }

    async fn list(&self, collection: &Collection, workspace: &WorkspaceId) -> Result<BoxStream<'static, Result<StoredPoint>>> {
        let (store, name, workspace) = (self.clone(), real_name(collection), workspace.clone());
        let (first, next) = store.page(&name, &workspace, None).await?;
        let more = stream::try_unfold(next, move |offset| {
            let (store, name, workspace) = (store.clone(), name.clone(), workspace.clone());
            async move {
                match offset {
                    Some(offset) => store.page(&name, &workspace, Some(offset)).await.map(Some),
                    None => Ok(None),
                }
            }
        });
        let pages = stream::iter([Ok(first)]).chain(more);
        Ok(pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten().boxed())
    }

    async fn workspaces(&self, collection: &Collection) -> Result<Vec<WorkspaceId>> {
        let name = &real_name(collection);
        let (what, mut limit) = (format!("list the workspaces of the collection `{name}`"), FIRST_WORKSPACES);
        loop {
            let request = &FacetCountsBuilder::new(name, WORKSPACE_COLUMN).limit(limit).exact(true).build();
            let answer = self.wire.ask(&what, |client| async move { client.facet(request.clone()).await }).await?;
            // As many as were asked for: there may be more.
            if answer.hits.len() as u64 >= limit {
                limit *= 10;
                continue;
            }
            let mut workspaces = Vec::with_capacity(answer.hits.len());
            for value in answer.hits.into_iter().filter(|hit| hit.count > 0).filter_map(|hit| hit.value?.variant) {
                match value {
                    Variant::StringValue(workspace) if WorkspaceId::refusal(&workspace).is_none() => {
                        workspaces.push(WorkspaceId::new(workspace)?);
                    }
                    _ => tracing::warn!(
                        collection = name,
                        "points of no workspace are in the collection: another program writes to it"
                    ),
                }
            }
            workspaces.sort();
            return Ok(workspaces);
        }
    }

    async fn count(&self, collection: &Collection, workspace: &WorkspaceId) -> Result<u64> {
        let name = real_name(collection);
        let request = &CountPointsBuilder::new(&name).filter(filter::of_workspace(workspace)).exact(true).build();
        let what = format!("count the collection `{name}`");
        let answer = self.wire.ask(&what, |client| async move { client.count(request.clone()).await }).await?;
        answer
            .result
            .map(|result| result.count)
            .ok_or_else(|| Error::new(ErrorKind::Storage, format!("cannot {what}: no count came")))
    }

    async fn search(
        &self,
        name: &str,
        workspace: &WorkspaceId,
        vector: &[f32],
        condition: Option<&Condition>,
        limit: usize,
    ) -> Result<Vec<Hit>> {
        let ours =
            SelectorOptions::Exclude(PayloadExcludeSelector { fields: vec![points::HASH.into(), WORKSPACE_COLUMN.into()] });
        let request = &QueryPointsBuilder::new(name)
            .query(Query::new_nearest(vector.to_vec()))
            .filter(filter::to_filter(workspace, condition)?)
            .params(SearchParamsBuilder::default().exact(self.exact))
            .limit(limit as u64)
            .with_payload(ours)
            .build();
        let what = format!("search `{name}`");
        let expected = |error: &QdrantError| match meaning(error) {
            Meaning::NotFound => Some(
                Error::new(ErrorKind::NotFound, format!("Qdrant at {} has no vectors `{name}`", self.wire.url))
                    .with_hint("run the pipeline that makes them first"),
            ),
            Meaning::Refused => Some(Error::new(ErrorKind::Query, format!("cannot {what}: {}", error::said(error)))),
            _ => None,
        };
        let answer = self.wire.ask_unless(&what, expected, |client| async move { client.query(request.clone()).await }).await?;
        answer.result.into_iter().map(points::to_hit).collect()
    }
}

fn real_name(collection: &Collection) -> String {
    format!("{}-{}", collection.name, collection.generation)
}

/// Whether `name` is that of another generation: as many hex digits after the collection's name and a dash.
fn is_other_generation(collection: &Collection, name: &str) -> bool {
    let generation = name.strip_prefix(&collection.name).and_then(|rest| rest.strip_prefix('-'));
    generation.is_some_and(|generation| {
        generation != collection.generation
            && generation.len() == collection.generation.len()
            && generation.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn field_type(kind: FieldKind) -> Option<FieldType> {
    Some(match kind {
        FieldKind::Keyword => FieldType::Keyword,
        FieldKind::Integer => FieldType::Integer,
        FieldKind::Float => FieldType::Float,
        FieldKind::Bool => FieldType::Bool,
        FieldKind::Datetime => FieldType::Datetime,
        FieldKind::Other => return None,
    })
}

fn check_vectors(name: &str, dimensions: usize, info: &CollectionInfo) -> Result<()> {
    let config = info.config.as_ref().and_then(|config| config.params.as_ref()).and_then(|params| params.vectors_config.as_ref());
    let found = match config.and_then(|vectors| vectors.config.as_ref()) {
        Some(Config::Params(VectorParams { size, distance, .. })) if *distance == Distance::Cosine as i32 => {
            if *size == dimensions as u64 {
                return Ok(());
            }
            format!("has vectors of {size} numbers instead of {dimensions}")
        }
        _ => "has vectors that are not compared by cosine".into(),
    };
    Err(Error::new(ErrorKind::Config, format!("the collection `{name}` is there and {found}"))
        .with_hint("remove or rename it if it is not the lake's, or give the vector table another name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_generations_of_exactly_this_name_are_removed() {
        let collection = Collection { name: "posts".into(), generation: "0a1b".into(), dimensions: 3, payload: vec![] };
        assert!(is_other_generation(&collection, "posts-ffff"));
        for other in [
            "posts-0a1b",
            "posts",
            "posts-",
            "posts-2024-1",
            "posts-FFFF",
            "posts-zzzz",
            "posts-fff",
            "posts_x-ffff",
            "xposts-ffff",
        ] {
            assert!(!is_other_generation(&collection, other), "{other}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        let options = QdrantOptions { api_key: Some("hush".into()), ..QdrantOptions::default() };
        let store = Qdrant::connect(&options).unwrap();
        assert_eq!(store.describe(), "Qdrant at http://localhost:6334");
        assert!(!format!("{store:?} {options:?}").contains("hush"));
    }
}
