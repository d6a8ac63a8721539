//! What lineage says about a table: where each column comes from, and what decided its rows.

/// One column of one dataset. A field inside a struct is a dotted path, such as `user.name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnRef {
    /// The dataset, `layer.table` for a table of the lake.
    pub dataset: String,
    /// The column, or the dotted path of a field in it.
    pub column: String,
}

/// How the value of a source column reaches an output column. The order is one of strength: a value that was
/// aggregated anywhere on its way is an aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// The value is taken as it is.
    Identity,
    /// The value is computed from one row.
    Transformation,
    /// The value is computed from many rows.
    Aggregation,
}

/// How a source column has influence on an output without giving it a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndirectKind {
    /// It decides which rows are kept: `WHERE`, `HAVING`, `FILTER`.
    Filter,
    /// It decides which rows meet: a join condition, `INTERSECT`, `EXCEPT`.
    Join,
    /// It decides which rows fall together: `GROUP BY`, `DISTINCT`.
    GroupBy,
    /// It decides the order of rows.
    Sort,
    /// It decides the partition or the order of a window.
    Window,
    /// It decides which branch of a `CASE` gives the value.
    Conditional,
    /// It is the list that `IN`, `ANY` or `ALL` compares with.
    Subquery,
}

/// A column that gives its value to an output column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectSource {
    /// The column the value comes from.
    pub source: ColumnRef,
    /// What happens to it on the way.
    pub kind: SourceKind,
    /// The SQL that computes the output, in terms of source columns; `None` for an identity.
    pub expression: Option<String>,
}

/// A column that has influence on the output as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndirectSource {
    /// The column that has the influence.
    pub source: ColumnRef,
    /// The kind of influence.
    pub kind: IndirectKind,
}

/// Where one output column comes from. A literal or a `count(*)` has no sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnLineage {
    /// The output column.
    pub column: String,
    /// Its sources, each once, in order of their names.
    pub sources: Vec<DirectSource>,
}

/// Where one table comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLineage {
    /// The dataset that is written.
    pub output: String,
    /// The datasets that are read, each once, in order.
    pub inputs: Vec<String>,
    /// The output columns, in the order of the table.
    pub columns: Vec<ColumnLineage>,
    /// What decided the output without giving it a value, each once, in order.
    pub indirect: Vec<IndirectSource>,
    /// The SQL that ran, when there is one.
    pub sql: Option<String>,
    /// The run that wrote the output, when it ran.
    pub run_id: Option<String>,
    /// The version of the output that the run committed.
    pub version: Option<i64>,
}
