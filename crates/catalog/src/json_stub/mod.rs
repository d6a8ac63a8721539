//! The catalog that needs no server: definitions from a JSON file, records as JSON objects beside the tables.

mod records;

use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use object_store::ObjectStore;
use object_store::path::Path;
use records::Records;

use crate::catalog::Catalog;
use crate::definition::Definitions;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::TableLineage;
use crate::method::Method;
use crate::ontology::Ontology;
use crate::record::{RunRecord, TableRecord};

/// A catalog made of a definitions text and JSON objects under a prefix of an object store: `tables/<name>.json`,
/// `lineage/<name>.json` and `runs/<run_id>.json`, each written at once.
///
/// The definitions are read when they are first asked for and then kept; wrong ones are read again each time.
#[derive(Debug)]
pub struct JsonStub {
    source: Source,
    definitions: OnceLock<Definitions>,
    records: Records,
}

/// Where the definitions come from.
#[derive(Debug)]
enum Source {
    Nowhere,
    Text { path: String, text: String },
    File { path: PathBuf, may_be_absent: bool },
}

impl JsonStub {
    /// Definitions from `text`, which messages call `path`.
    pub fn from_text(path: impl Into<String>, text: impl Into<String>, records: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self::new(Source::Text { path: path.into(), text: text.into() }, records, prefix)
    }

    /// Definitions from a file. When it does not exist, asking for them is an error.
    pub fn from_file(path: impl Into<PathBuf>, records: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self::new(Source::File { path: path.into(), may_be_absent: false }, records, prefix)
    }

    /// Definitions from a file if it exists, else only the built-in methods.
    pub fn from_file_if_present(path: impl Into<PathBuf>, records: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self::new(Source::File { path: path.into(), may_be_absent: true }, records, prefix)
    }

    /// Only the built-in methods, and no ontology.
    pub fn builtin_only(records: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self::new(Source::Nowhere, records, prefix)
    }

    fn new(source: Source, records: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { source, definitions: OnceLock::new(), records: Records::new(records, prefix) }
    }

    fn definitions(&self) -> Result<&Definitions> {
        if let Some(definitions) = self.definitions.get() {
            return Ok(definitions);
        }
        let read = self.source.read()?;
        Ok(self.definitions.get_or_init(|| read))
    }
}

impl Source {
    fn read(&self) -> Result<Definitions> {
        match self {
            Self::Nowhere => Ok(Definitions::builtin_only()),
            Self::Text { path, text } => Definitions::from_text(path, text),
            Self::File { path, may_be_absent } => match read_file(path) {
                Err(error) if *may_be_absent && error.kind() == ErrorKind::NotFound => Ok(Definitions::builtin_only()),
                Err(error) => Err(error),
                Ok(text) => Definitions::from_text(&path.display().to_string(), &text),
            },
        }
    }
}

/// The file is small, local and read once, so the thread waits for it.
fn read_file(path: &FilePath) -> Result<String> {
    let shown = path.display();
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("the catalog file `{shown}` does not exist")),
        std::io::ErrorKind::InvalidData => {
            Error::new(ErrorKind::Invalid, format!("the catalog file `{shown}` is not UTF-8")).with_source(error)
        }
        _ => Error::new(ErrorKind::Storage, format!("cannot read the catalog file `{shown}`: {error}")).with_source(error),
    })
}

#[async_trait]
impl Catalog for JsonStub {
    async fn list_methods(&self, entity_type: Option<&str>) -> Result<Vec<Method>> {
        let methods = self.definitions()?.methods().iter();
        Ok(methods.filter(|method| entity_type.is_none_or(|entity| method.brings(entity))).cloned().collect())
    }

    async fn get_ontology(&self, version: Option<&str>) -> Result<Option<Ontology>> {
        Ok(self.definitions()?.ontology(version).cloned())
    }

    async fn register_tables(&self, tables: &[TableRecord]) -> Result<()> {
        self.records.put_tables(tables).await
    }

    async fn record_run(&self, run: &RunRecord) -> Result<()> {
        self.records.put_run(run).await
    }

    async fn table_lineage(&self, table: &str) -> Result<Option<TableLineage>> {
        self.records.lineage(table).await
    }

    async fn tables(&self) -> Result<Vec<TableRecord>> {
        self.records.tables().await
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn store() -> Arc<dyn ObjectStore> {
        Arc::new(InMemory::new())
    }

    #[tokio::test]
    async fn nothing_is_read_before_it_is_asked_for() {
        let wrong = JsonStub::from_text("c.json", "{", store(), Path::default());
        assert_eq!(wrong.tables().await.unwrap(), []);
        assert_eq!(wrong.list_methods(None).await.unwrap_err().to_string(), "c.json:1:1: `{` is never closed");
    }

    #[tokio::test]
    async fn a_file_that_must_exist_is_missed_and_one_that_may_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.json");
        let error = JsonStub::from_file(&path, store(), Path::default()).list_methods(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let stub = JsonStub::from_file_if_present(&path, store(), Path::default());
        assert_eq!(stub.list_methods(None).await.unwrap(), crate::builtin::methods());
        assert_eq!(stub.get_ontology(None).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_wrong_file_that_was_mended_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.json");
        std::fs::write(&path, r#"{"methods": 1}"#).unwrap();
        let stub = JsonStub::from_file_if_present(&path, store(), Path::default());
        assert!(stub.list_methods(None).await.unwrap_err().definitions().is_some());
        std::fs::write(&path, r#"{"methods": [{"method_id": "crawl"}]}"#).unwrap();
        assert!(stub.list_methods(None).await.unwrap().iter().any(|method| method.method_id == "crawl"));
    }

    #[tokio::test]
    async fn a_file_that_is_not_text_is_invalid() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("catalog.json");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        let error = JsonStub::from_file(&path, store(), Path::default()).get_ontology(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().ends_with("is not UTF-8"));
    }
}
