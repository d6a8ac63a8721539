//! The JSON stub keeps the promises of a catalog, in memory and on disk.

use std::sync::Arc;

use async_trait::async_trait;
use lake_catalog::contract::{DEFINITIONS, Subject};
use lake_catalog::{Catalog, JsonStub};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;

/// A store that holds the records, and the folder that must outlive it.
struct Stub {
    store: Arc<dyn ObjectStore>,
    _directory: Option<tempfile::TempDir>,
}

#[async_trait]
impl Subject for Stub {
    async fn open(&self) -> Arc<dyn Catalog> {
        Arc::new(JsonStub::from_text("contract.json", DEFINITIONS, self.store.clone(), Path::from("_lake/catalog")))
    }
}

mod in_memory {
    use super::*;

    lake_catalog::catalog_contract!(Stub { store: Arc::new(InMemory::new()), _directory: None });
}

mod on_disk {
    use super::*;

    fn on_disk() -> Stub {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let store = LocalFileSystem::new_with_prefix(directory.path()).expect("a store in it");
        Stub { store: Arc::new(store), _directory: Some(directory) }
    }

    lake_catalog::catalog_contract!(on_disk());
}
