//! From configuration to a catalog: the one place where adapters are named.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;

use crate::catalog::Catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::json_stub::JsonStub;
use crate::nearest::advice;

/// Where the stub's definitions are when nothing else is said, relative to the working directory.
pub const DEFAULT_DEFINITIONS: &str = "catalog/stub-catalog.json";

/// The catalogs there are: the values of `DATA_CATALOG`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CatalogKind {
    /// Definitions in a JSON file, records beside the tables.
    #[default]
    Stub,
    /// An OpenMetadata server.
    OpenMetadata,
}

impl CatalogKind {
    /// All, the default first.
    pub const ALL: [CatalogKind; 2] = [CatalogKind::Stub, CatalogKind::OpenMetadata];

    /// As written in `DATA_CATALOG`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stub => "stub",
            Self::OpenMetadata => "openmetadata",
        }
    }
}

impl fmt::Display for CatalogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CatalogKind {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`]; the hint says which values there are.
    fn from_str(text: &str) -> Result<Self> {
        let named = |kind: &CatalogKind| kind.as_str() == text;
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            let error = Error::new(ErrorKind::Invalid, format!("`{text}` is not a catalog"));
            match advice(text, Self::ALL.map(Self::as_str)) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })
    }
}

/// Which catalog, and what it is made of.
#[derive(Debug, Clone)]
pub struct CatalogConfig {
    /// `DATA_CATALOG`.
    pub kind: CatalogKind,
    /// The stub's definitions file, which must exist; `None`: [`DEFAULT_DEFINITIONS`], which need not.
    pub definitions: Option<PathBuf>,
    /// Where the stub keeps its records.
    pub records: Arc<dyn ObjectStore>,
    /// Under which path of `records`.
    pub prefix: Path,
}

/// Makes the catalog. It reads nothing yet and connects to nothing yet.
///
/// # Errors
/// [`ErrorKind::Invalid`] when the catalog is one that this version does not have.
pub fn connect(config: CatalogConfig) -> Result<Arc<dyn Catalog>> {
    let CatalogConfig { kind, definitions, records, prefix } = config;
    match kind {
        CatalogKind::Stub => Ok(Arc::new(match definitions {
            Some(path) => JsonStub::from_file(path, records, prefix),
            None => JsonStub::from_file_if_present(DEFAULT_DEFINITIONS, records, prefix),
        })),
        CatalogKind::OpenMetadata => {
            Err(Error::new(ErrorKind::Invalid, "the catalog `openmetadata` is not part of this version of lake")
                .with_hint("set `DATA_CATALOG=stub`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn config(kind: CatalogKind) -> CatalogConfig {
        let definitions = Some("no/such/catalog.json".into());
        CatalogConfig { kind, definitions, records: Arc::new(InMemory::new()), prefix: Path::default() }
    }

    #[test]
    fn every_kind_reads_back_as_it_is_shown() {
        for kind in CatalogKind::ALL {
            assert_eq!(kind.to_string().parse::<CatalogKind>().unwrap(), kind);
        }
        assert_eq!("open-metadata".parse::<CatalogKind>().unwrap_err().hint(), Some("did you mean `openmetadata`?"));
        assert_eq!("glue".parse::<CatalogKind>().unwrap_err().hint(), Some("known: `stub`, `openmetadata`"));
    }

    #[tokio::test]
    async fn connecting_reads_nothing() {
        let catalog = connect(config(CatalogKind::Stub)).unwrap();
        assert_eq!(catalog.tables().await.unwrap(), []);
        assert_eq!(catalog.list_methods(None).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn openmetadata_says_that_it_is_not_there() {
        let error = connect(config(CatalogKind::OpenMetadata)).unwrap_err();
        assert_eq!(error.to_string(), "the catalog `openmetadata` is not part of this version of lake");
        assert_eq!(error.hint(), Some("set `DATA_CATALOG=stub`"));
    }
}
