//! The way in: a [`Lake`] is a root, an engine, and the tables below.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::engine::{Engine, EngineOptions};
use crate::error::{Error, Result};
use crate::pipeline::{Layer, TableName};
use crate::source_options::SourceOptions;
use crate::storage::{BOOKKEEPING, Root, explain};
use crate::table::{At, Footprint, Snapshot};
use crate::workspace::Workspace;
use crate::workspace_id::WorkspaceId;

/// A lakehouse: tables of many workspaces below one root, and the engine that reads them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: Root,
    engine: Engine,
    sources: SourceOptions,
}

/// Settings of a [`Lake`]. Holds secrets, so it has no `Debug`.
#[derive(Clone, Default)]
pub struct LakeBuilder {
    uri: Option<String>,
    storage: HashMap<String, String>,
    sources: SourceOptions,
    engine: EngineOptions,
}

impl LakeBuilder {
    /// Where the tables are: a local folder or `s3://bucket/prefix`. The default is `./lakehouse`.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// An option of the storage client, such as `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn storage_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.storage.insert(name.into(), value.into());
        self
    }

    /// An option for reaching sources on S3, by the name of its variable: `SOURCE_AWS_ACCESS_KEY_ID` for all of them,
    /// `SOURCE_<BUCKET>_AWS_ACCESS_KEY_ID` for one bucket. A bucket for which none is set is reached as the lake is.
    #[must_use]
    pub fn source_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.sources.set(name.into(), value.into());
        self
    }

    /// The memory budget of the process, in bytes.
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.engine.memory = Some(bytes);
        self
    }

    /// Threads of one query.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.engine.threads = Some(threads);
        self
    }

    /// The folder to spill to.
    #[must_use]
    pub fn spill_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.engine.spill = Some(folder.into());
        self
    }

    /// Makes the lake. Nothing is read or written yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a setting is wrong.
    pub fn build(self) -> Result<Lake> {
        let root = Root::parse(self.uri.as_deref().unwrap_or("./lakehouse"), self.storage)?;
        if root.url().scheme() != "file" {
            deltalake::aws::register_handlers(None);
        }
        Ok(Lake { inner: Arc::new(Inner { root, engine: Engine::new(self.engine)?, sources: self.sources }) })
    }
}

impl Lake {
    /// Settings, starting from the defaults.
    pub fn builder() -> LakeBuilder {
        LakeBuilder::default()
    }

    /// Where the tables are.
    pub fn root(&self) -> &Root {
        &self.inner.root
    }

    /// Options for reaching sources, by the names of their variables. They hold secrets.
    pub fn source_options(&self) -> &HashMap<String, String> {
        self.inner.sources.values()
    }

    /// The engine that all workspaces share.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// The same lake as one job sees it: `footprint` notes what is read and written through it, and commits outside of it are refused.
    #[must_use]
    pub fn noted(&self, footprint: &Footprint) -> Self {
        let Inner { root, engine, sources } = self.inner.as_ref();
        Self { inner: Arc::new(Inner { root: root.noted(footprint), engine: engine.clone(), sources: sources.clone() }) }
    }

    /// What is read and written through this handle, where it is noted.
    pub fn footprint(&self) -> Option<&Footprint> {
        self.inner.root.footprint()
    }

    /// A workspace: the only way to read rows.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `name` cannot be a workspace's name.
    pub fn workspace(&self, name: &str) -> Result<Workspace> {
        Ok(Workspace::new(self.clone(), WorkspaceId::new(name)?))
    }

    /// A table at a version; `None` when it does not exist. A snapshot is the table of all workspaces: reading rows from it takes a
    /// [`crate::table::Scope`].
    pub async fn snapshot(&self, name: &TableName, at: At) -> Result<Option<Snapshot>> {
        Snapshot::open(self.root(), name, at).await
    }

    /// The tables of the lake, those beside silver tables included, sorted.
    ///
    /// # Errors
    /// [`ErrorKind::Storage`] when the root cannot be listed.
    pub async fn tables(&self) -> Result<Vec<TableName>> {
        if self.root().local_path().is_some_and(|p| !p.exists()) {
            return Ok(vec![]);
        }
        let store = self.root().store()?;
        let mut tables = vec![];
        for layer in Layer::ALL {
            let prefix = Path::from(layer.as_str());
            let listing = store.list_with_delimiter(Some(&prefix)).await.map_err(|e| self.list_error(e))?;
            for folder in listing.common_prefixes {
                let log = folder.clone().join("_delta_log");
                let mut entries = store.list(Some(&log));
                if entries.try_next().await.map_err(|e| self.list_error(e))?.is_some()
                    && let Some(name) = folder.filename()
                {
                    tables.push(TableName::new(layer, name));
                }
            }
        }
        tables.sort();
        Ok(tables)
    }

    /// A store for what is not a table, and the prefix to keep it below.
    pub fn bookkeeping(&self) -> Result<(Arc<dyn ObjectStore>, Path)> {
        Ok((self.root().store()?, Path::from(BOOKKEEPING)))
    }

    fn list_error(&self, source: object_store::Error) -> Error {
        explain(&format!("cannot list `{}`", self.root().url()), source)
    }
}
