//! Search by meaning: a text, the vectors of a workspace, and what the answer is true for.

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use super::condition::Condition;
use super::store::{Hit, VectorStore};
use super::table::{collection, payload_fields};
use crate::embed::Embedder;
use crate::error::{Error, ErrorKind, Result};
use crate::lake::Lake;
use crate::pipeline::{EMBEDDING_CACHE, Layer, TableName};
use crate::sink::Mark;
use crate::storage::explain;
use crate::table::{At, Progress, Scope, Snapshot};
use crate::workspace::Workspace;

/// What to search for.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// The vector table, or the table that one vector table follows.
    pub table: &'a str,
    /// The text.
    pub text: &'a str,
    /// An SQL condition on the payload.
    pub condition: Option<&'a str>,
    /// At most so many rows; 1 or more.
    pub limit: usize,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchResult {
    /// The vector table.
    pub table: TableName,
    /// The table it follows.
    pub source: TableName,
    /// The version of that table that the answer is true for; `None` when the store has not acknowledged any.
    pub source_version: Option<i64>,
    /// What made the vectors.
    pub embedder: String,
    /// The nearest first.
    pub hits: Vec<Hit>,
}

/// What the rows of a vector table were made by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The embedder's name.
    pub embedder: String,
    /// Numbers of a vector.
    pub dimensions: usize,
    /// The table that is followed.
    pub source: String,
}

impl Made {
    /// Keeps it for the rows that the definition `generation` makes.
    ///
    /// # Errors
    /// Those of storage.
    pub async fn keep(&self, lake: &Lake, table: &TableName, generation: i64) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(|e| Error::new(ErrorKind::Internal, "not JSON").with_source(e))?;
        let put = lake.root().store()?.put(&place(table, generation), PutPayload::from(json)).await;
        put.map(|_| ()).map_err(|e| explain(&format!("cannot keep what `{table}` is made by"), e))
    }

    async fn read(lake: &Lake, table: &TableName, generation: i64) -> Result<Option<Self>> {
        let fail = |e| explain(&format!("cannot read what `{table}` is made by"), e);
        match lake.root().store()?.get(&place(table, generation)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            found => Ok(serde_json::from_slice(&found.map_err(fail)?.bytes().await.map_err(fail)?).ok()),
        }
    }
}

fn place(table: &TableName, generation: i64) -> Path {
    Path::from(format!("_lake/vectors/{}/{generation:016x}.json", table.name))
}

impl Workspace {
    /// The rows of this workspace whose texts are nearest to `search.text`: in `store` where it is given, else in the table.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no vector table fits; [`ErrorKind::Config`] when `embedder` is not the one that made the vectors;
    /// [`ErrorKind::Query`] for a condition that cannot be; those of the embedder and the store.
    pub async fn search(
        &self,
        search: &Search<'_>,
        embedder: &dyn Embedder,
        store: Option<&dyn VectorStore>,
    ) -> Result<SearchResult> {
        if search.limit == 0 || search.text.trim().is_empty() {
            return Err(Error::new(ErrorKind::Query, "a search needs a text, and a limit of 1 or more"));
        }
        let (table, progress) = self.vector_table(search.table).await?;
        let name = table.name().clone();
        let generation = progress.of(self.id().as_str(), &[]).definition;
        let made = match generation {
            Some(generation) => Made::read(self.lake(), &name, generation).await?.zip(Some(generation)),
            None => None,
        };
        let (made, generation) = made.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("nothing was put into `{name}` yet")).with_hint("run its pipeline first")
        })?;
        if made.embedder != embedder.name() {
            let message = format!("the vectors of `{name}` were made by `{}`, not by `{}`", made.embedder, embedder.name());
            return Err(Error::new(ErrorKind::Config, message).with_hint(
                "set `LLM_API_URL` and `LLM_EMBEDDING_MODEL` as they were, or run the pipeline with the new ones first",
            ));
        }
        let fields = payload_fields(table.schema());
        let condition = search.condition.map(|sql| Condition::parse(sql, &fields)).transpose()?;
        let mut vectors = embedder.embed(&[search.text.to_owned()]).await?;
        let vector = vectors.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "the text was not embedded"))?;
        let source: TableName = made.source.parse()?;
        let names = [made.source.clone()];
        let scope = Scope::Workspace(self.id().clone());
        let (hits, source_version) = match store {
            None => {
                let found = self.nearest(&name.to_string(), &vector, condition.as_ref(), search.limit).await?;
                (found.hits, progress.in_scope(&scope, &names).inputs.values().copied().min())
            }
            Some(store) => {
                let collected = format!("{}{}", store.prefix(), name.name);
                let mirrored = collection(&collected, generation, made.dimensions, fields);
                let mark = Mark::new(&store.describe(), &format!("{}-{}", mirrored.name, mirrored.generation));
                let acknowledged = mark.get(&progress, &scope);
                let hits = store.search(&mirrored.name, self.id(), &vector, condition.as_ref(), search.limit).await?;
                let then = match acknowledged {
                    Some(version) => self.lake().snapshot(&name, At::Version(version)).await?,
                    None => None,
                };
                let version = match then {
                    Some(then) => then.progress().await?.in_scope(&scope, &names).inputs.values().copied().min(),
                    None => None,
                };
                (hits, version)
            }
        };
        Ok(SearchResult { table: name, source, source_version, embedder: made.embedder, hits })
    }

    /// The vector table `name`, or the one that follows the table `name`.
    async fn vector_table(&self, name: &str) -> Result<(Snapshot, Progress)> {
        let name: TableName = name.parse()?;
        let (mut found, mut others) = (vec![], vec![]);
        for table in self.lake().tables().await?.into_iter().filter(|t| t.layer == Layer::Vectors && t.name != EMBEDDING_CACHE) {
            if name.layer == Layer::Vectors && name != table {
                others.push(table.to_string());
                continue;
            }
            let Some(snapshot) = self.lake().snapshot(&table, At::Latest).await? else { continue };
            let progress = snapshot.progress().await?;
            let input = name.to_string();
            if name == table || progress.names().any(|n| n == input || n.starts_with(&format!("{input}@"))) {
                found.push((snapshot, progress));
            } else {
                others.push(table.to_string());
            }
        }
        if found.len() > 1 {
            let names: Vec<String> = found.iter().map(|(s, _)| format!("`{}`", s.name())).collect();
            let message = format!("several vector tables follow `{name}`: {}", names.join(", "));
            return Err(Error::new(ErrorKind::Config, message).with_hint("name one of them with `--table`"));
        }
        let none = || {
            let error = Error::new(ErrorKind::NotFound, format!("there are no vectors of `{name}`"));
            match others.as_slice() {
                [] => error.with_hint("add `vectors:` to its pipeline, and run it"),
                others => error.with_hint(format!("there are {}", others.join(", "))),
            }
        };
        found.pop().ok_or_else(none)
    }
}
