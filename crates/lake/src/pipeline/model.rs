//! The checked domain type of a pipeline file. Reading makes one of these or a list of diagnostics, never both halves.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::DataType;

use crate::diagnostic::{Source, Span, Spanned};
use crate::embed::Chunking;
use crate::error::{Error, ErrorKind, Result};
use crate::workspace_id::WorkspaceId;

/// A layer of the medallion, or what is derived for a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// As delivered.
    Bronze,
    /// Typed, deduplicated, checked.
    Silver,
    /// Derived by SQL.
    Gold,
    /// Texts with their vectors.
    Vectors,
    /// Nodes and edges.
    Graph,
}

impl Layer {
    /// All layers, in the order of the data.
    pub const ALL: [Layer; 5] = [Layer::Bronze, Layer::Silver, Layer::Gold, Layer::Vectors, Layer::Graph];

    /// As in the names of tables: `bronze`.
    pub fn as_str(self) -> &'static str {
        match self {
            Layer::Bronze => "bronze",
            Layer::Silver => "silver",
            Layer::Gold => "gold",
            Layer::Vectors => "vectors",
            Layer::Graph => "graph",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A table's name, `layer.name`; the name is `[a-z][a-z0-9_]*`, at most 64 characters, and does not end with the suffixes kept for
/// the tables that stand beside a silver table (`_quarantine`, `_tombstones`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// The layer.
    pub layer: Layer,
    /// The name within the layer.
    pub name: String,
}

/// The longest name of a table, in characters.
pub const MAX_TABLE_NAME: usize = 64;

/// The name that no vector table of a pipeline can have: vectors by their texts are kept under it.
pub const EMBEDDING_CACHE: &str = "embedding_cache";

/// The end of the name of a silver table's quarantine.
pub const QUARANTINE_SUFFIX: &str = "_quarantine";

/// The end of the name of a silver table's tombstones.
pub const TOMBSTONES_SUFFIX: &str = "_tombstones";

impl TableName {
    /// `layer.name`; the caller has checked the name.
    pub fn new(layer: Layer, name: impl Into<String>) -> Self {
        Self { layer, name: name.into() }
    }

    /// `layer.name` when `name` is one that a table can have; names kept for tables beside others are among them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for any other name, so that no name can be a path.
    pub fn checked(layer: Layer, name: &str) -> Result<Self> {
        let longest = MAX_TABLE_NAME + TOMBSTONES_SUFFIX.len().max(QUARANTINE_SUFFIX.len());
        let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
            && name.len() <= longest;
        if fits {
            Ok(Self::new(layer, name))
        } else {
            Err(Error::new(ErrorKind::Config, format!("`{name}` cannot be the name of a table"))
                .with_hint("use lower-case letters, digits and `_`, starting with a letter"))
        }
    }

    /// The quarantine table beside this one.
    pub fn quarantine(&self) -> Self {
        Self::new(self.layer, format!("{}{QUARANTINE_SUFFIX}", self.name))
    }

    /// The tombstones beside this one.
    pub fn tombstones(&self) -> Self {
        Self::new(self.layer, format!("{}{TOMBSTONES_SUFFIX}", self.name))
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (layer, name) = text.split_once('.').unwrap_or(("", text));
        match Layer::ALL.into_iter().find(|l| l.as_str() == layer) {
            Some(layer) => Self::checked(layer, name),
            None => Err(Error::new(ErrorKind::Config, format!("`{text}` is not a table's name"))
                .with_hint("write the layer and the name, such as `silver.posts`")),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.layer, self.name)
    }
}

/// A pipeline file, read and checked for shape. Whether its tables, columns and SQL fit is checked by [`compile`](super::compile).
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// `name:`.
    pub name: Spanned<String>,
    /// `ontology:`, the pinned version.
    pub ontology: Option<Spanned<String>>,
    /// `workspace:`.
    pub workspace: WorkspaceSpec,
    /// In the order of the file.
    pub bronze: Vec<BronzeTable>,
    /// In the order of the file.
    pub silver: Vec<SilverTable>,
    /// In the order of the file.
    pub gold: Vec<GoldTable>,
    /// In the order of the file.
    pub vectors: Vec<VectorTable>,
    /// In the order of the file.
    pub graph: Vec<GraphSource>,
    /// The text that the spans point into.
    pub source: Arc<Source>,
}

impl Pipeline {
    /// The tables it builds, layer by layer, in the order of the file.
    pub fn tables(&self) -> impl Iterator<Item = &TableName> {
        let bronze = self.bronze.iter().map(|t| &t.name.value);
        let gold = self.gold.iter().map(|t| &t.name.value);
        bronze.chain(self.silver.iter().map(|t| &t.name.value)).chain(gold).chain(self.vectors.iter().map(|t| &t.name.value))
    }
}

/// Where a row's workspace comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum WorkspaceSpec {
    /// Not in the file: the flag, the environment, or `default`.
    Inherit,
    /// One workspace for all rows.
    Fixed(Spanned<WorkspaceId>),
    /// A column of the feed names it, row by row.
    Column(Spanned<String>),
}

/// `bronze.<name>`.
#[derive(Debug, Clone, PartialEq)]
pub struct BronzeTable {
    /// `bronze.<name>` and where the key stands.
    pub name: Spanned<TableName>,
    /// `method:`, an id in the catalog.
    pub method: Spanned<String>,
    /// `inputs:`, as JSON values, in the order of the file, each with the spans of its key and value.
    pub inputs: Vec<MethodInput>,
    /// Where `inputs:` stands (the table's key when it is not given).
    pub inputs_span: Span,
    /// `columns:`, names and types that are known though the data may not show them yet. Leaves are text unless the source is Parquet.
    pub columns: Vec<(Spanned<String>, Spanned<DataType>)>,
    /// `description:`.
    pub description: Option<String>,
}

/// One entry of `inputs:`.
#[derive(Debug, Clone, PartialEq)]
pub struct MethodInput {
    /// The input's name.
    pub name: Spanned<String>,
    /// Its value after `${VAR}` was filled in.
    pub value: Spanned<serde_json::Value>,
}

/// `silver.<name>`.
#[derive(Debug, Clone, PartialEq)]
pub struct SilverTable {
    /// `silver.<name>` and where the key stands.
    pub name: Spanned<TableName>,
    /// `from:`, a bronze table.
    pub from: Spanned<TableName>,
    /// `entity:`, an entity of the ontology: names, types and key of the columns.
    pub entity: Option<Spanned<String>>,
    /// `select:`, output column to SQL expression over the input's columns.
    pub select: Vec<(Spanned<String>, Spanned<String>)>,
    /// `where:`, an SQL condition over the input's columns; rows for which it does not hold are dropped.
    pub filter: Option<Spanned<String>>,
    /// `key:`, output columns.
    pub key: Vec<Spanned<String>>,
    /// `sequence_by:`, an SQL expression over output columns (then input columns); the greatest wins.
    pub sequence_by: Option<Spanned<String>>,
    /// `delete_when:`, an SQL condition over the input's columns.
    pub delete_when: Option<Spanned<String>>,
    /// `merge_on_read:`, whether rows may be marked as deleted instead of writing their files anew.
    pub merge_on_read: Option<Spanned<bool>>,
    /// `expect:`, in the order of the file.
    pub expect: Vec<Expectation>,
    /// `description:`.
    pub description: Option<String>,
}

/// One entry of `expect:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    /// Its name.
    pub name: Spanned<String>,
    /// `check:`, an SQL condition over output columns (then input columns).
    pub check: Spanned<String>,
    /// `otherwise:`.
    pub otherwise: Otherwise,
}

/// What happens to a row for which an expectation is false or null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// It is counted and kept.
    Warn,
    /// It is left out and counted.
    Drop,
    /// It goes to the quarantine table.
    Quarantine,
    /// The job fails and the table stays as it was.
    Fail,
}

impl Otherwise {
    /// All, in rising order of severity of what happens.
    pub const ALL: [Otherwise; 4] = [Otherwise::Warn, Otherwise::Drop, Otherwise::Quarantine, Otherwise::Fail];

    /// As written in a pipeline.
    pub fn as_str(self) -> &'static str {
        match self {
            Otherwise::Warn => "warn",
            Otherwise::Drop => "drop",
            Otherwise::Quarantine => "quarantine",
            Otherwise::Fail => "fail",
        }
    }
}

/// `gold.<name>`.
#[derive(Debug, Clone, PartialEq)]
pub struct GoldTable {
    /// `gold.<name>` and where the key stands.
    pub name: Spanned<TableName>,
    /// `sql:`, a query over the workspace's tables.
    pub sql: Spanned<String>,
    /// `description:`.
    pub description: Option<String>,
}

/// `vectors.<name>`.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorTable {
    /// `vectors.<name>` and where the key stands.
    pub name: Spanned<TableName>,
    /// `from:`, a silver or gold table.
    pub from: Spanned<TableName>,
    /// `id:`, columns that tell one row from another.
    pub id: Vec<Spanned<String>>,
    /// `embed:`, an SQL expression that gives the text.
    pub embed: Spanned<String>,
    /// `payload:`, name and SQL expression of what searches give back and can be narrowed by.
    pub payload: Vec<(Spanned<String>, Spanned<String>)>,
    /// `where:`, an SQL condition; rows for which it does not hold have no vectors.
    pub filter: Option<Spanned<String>>,
    /// `chunk:`, how long texts are cut; whole when left out.
    pub chunk: Option<Spanned<Chunking>>,
    /// `description:`.
    pub description: Option<String>,
}

/// `graph.<name>`: what the rows of one table add to the pipeline's graph.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphSource {
    /// The entry's name.
    pub name: Spanned<String>,
    /// `from:`, a silver or gold table.
    pub from: Spanned<TableName>,
    /// `where:`, an SQL condition; rows for which it does not hold add nothing.
    pub filter: Option<Spanned<String>>,
    /// `nodes:`.
    pub nodes: Vec<NodeMapping>,
    /// `edges:`.
    pub edges: Vec<EdgeMapping>,
}

/// Named values, each an SQL expression.
pub type Properties = Vec<(Spanned<String>, Spanned<String>)>;

/// One entry of `nodes:`.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeMapping {
    /// The label.
    pub label: Spanned<String>,
    /// An SQL expression that names the node; where it is null or empty, there is none.
    pub id: Spanned<String>,
    /// `properties:`.
    pub properties: Properties,
}

/// One entry of `edges:`.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeMapping {
    /// `type:`.
    pub kind: Spanned<String>,
    /// `from:`.
    pub from: EdgeEnd,
    /// `to:`.
    pub to: EdgeEnd,
    /// `properties:`.
    pub properties: Properties,
}

/// An end of an edge.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeEnd {
    /// The label of the node.
    pub label: Spanned<String>,
    /// An SQL expression that names the node; when left out, the one that the entry's node of that label has.
    pub id: Option<Spanned<String>>,
}
