//! The trait that every catalog adapter implements.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::Result;
use crate::lineage::TableLineage;
use crate::method::Method;
use crate::ontology::Ontology;
use crate::record::{RunRecord, TableRecord};

/// A data catalog: it gives methods and ontologies, and keeps tables, runs and their lineage.
///
/// [`CatalogExt`](crate::CatalogExt) adds what can be made from these. The promises of each function are tested by
/// [`contract`](crate::contract), for every adapter.
///
/// An implementer guarantees further:
/// - Absence is `None` or an empty list, never an error. An error means that the answer is not known.
/// - What was written is seen by every later call, also through another handle on the same catalog, as soon as the
///   writing function has returned.
/// - Calls may run at the same time. Writers of different tables do not disturb each other, and a reader sees a record as
///   it was before a write or after it, never between.
/// - Nothing is read before it is asked for, so making a catalog costs nothing and cannot fail on its content.
#[async_trait]
pub trait Catalog: Send + Sync + Debug {
    /// The methods that bring things of `entity_type`, or all, sorted by id; ids differ. A method without entity types
    /// brings any, so it is in every list; the built-in methods are such methods and always listed.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) with all mistakes when the definitions are wrong, or the catalog cannot be read.
    async fn list_methods(&self, entity_type: Option<&str>) -> Result<Vec<Method>>;

    /// The ontology of `version`, or the one of the greatest version. Versions are compared number by number: `1.10` is
    /// greater than `1.9`, and `1` is `1.0`.
    ///
    /// # Errors
    /// As [`list_methods`](Catalog::list_methods).
    async fn get_ontology(&self, version: Option<&str>) -> Result<Option<Ontology>>;

    /// Makes the tables known, or replaces what is known of them, each table at once. Other tables stay as they are. Any
    /// text may be a table's name.
    ///
    /// # Errors
    /// When the catalog cannot be written; some of the tables may then be registered, and it is right to call again.
    async fn register_tables(&self, tables: &[TableRecord]) -> Result<()>;

    /// Records a run that has ended, and the lineage of the tables it wrote. A run that is recorded already, which is seen
    /// by its `run_id`, changes nothing, whatever it says now. After an error it is right to call again: nothing is lost
    /// or doubled. The order of recording is free: the lineage of a run never replaces that of one that ended later. Only
    /// when two processes record the same table at the same instant, on storage that cannot compare and swap, either may stay.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    async fn record_run(&self, run: &RunRecord) -> Result<()>;

    /// The lineage of `table` by the run that ended last of those that wrote it, with the `run_id` of that run.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    async fn table_lineage(&self, table: &str) -> Result<Option<TableLineage>>;

    /// All tables, sorted by name.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    async fn tables(&self) -> Result<Vec<TableRecord>>;
}
