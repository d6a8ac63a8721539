//! The lineage model: what each column of a table is made from, in OpenLineage's vocabulary.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A column of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ColumnRef {
    /// A table, such as `silver.posts`, or a source, such as `file:data/posts/*.ndjson`.
    pub dataset: String,
    /// The column's name; a field within it is joined by dots.
    pub column: String,
}

impl ColumnRef {
    /// Column `column` of `dataset`.
    pub fn new(dataset: impl Into<String>, column: impl Into<String>) -> Self {
        Self { dataset: dataset.into(), column: column.into() }
    }
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.dataset, self.column)
    }
}

/// Whether a source's values are in the column, or only decide which values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Directness {
    /// The values are made from the source's.
    Direct,
    /// The source decides which rows or values there are.
    Indirect,
}

/// How a column's values are made from a direct source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SourceKind {
    /// Unchanged.
    Identity,
    /// By an expression over one row.
    Transformation,
    /// From the values of many rows.
    Aggregation,
}

/// How an indirect source decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IndirectKind {
    /// Rows are kept or dropped by it.
    Filter,
    /// Rows are joined on it.
    Join,
    /// Rows are grouped by it.
    GroupBy,
    /// Rows are put in order by it.
    Sort,
    /// It frames or orders a window.
    Window,
    /// It is the condition of a `CASE` or the like.
    Conditional,
    /// A subquery in a condition reads it.
    Subquery,
}

/// A column whose values are in another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DirectSource {
    /// Where the values come from.
    pub source: ColumnRef,
    /// How.
    pub kind: SourceKind,
    /// The SQL expression; holds no row values beyond the literals of the pipeline file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
}

/// A column that decides which rows of a table there are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IndirectSource {
    /// The column that decides.
    pub source: ColumnRef,
    /// How.
    pub kind: IndirectKind,
}

/// What one column is made from. No sources: a constant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnLineage {
    /// The column's name.
    pub column: String,
    /// Its direct sources.
    pub sources: Vec<DirectSource>,
}

/// What one table is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLineage {
    /// The table (`silver.posts`) or sink (`vectors.posts`).
    pub output: String,
    /// Every dataset that was read, also those of which no column is used.
    pub inputs: Vec<String>,
    /// In the order of the table.
    pub columns: Vec<ColumnLineage>,
    /// What decides on the rows of the table, and so on each of its columns.
    #[serde(default)]
    pub indirect: Vec<IndirectSource>,
    /// The query, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// The run that made it; a catalog fills it in from the run it is recorded with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The table's version that it is true for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
}

impl TableLineage {
    /// The lineage of one column.
    pub fn column(&self, name: &str) -> Option<&ColumnLineage> {
        self.columns.iter().find(|column| column.column == name)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_json_form_uses_the_words_of_openlineage() {
        let lineage: TableLineage = serde_json::from_value(json!({
            "output": "gold.daily", "inputs": ["silver.posts"],
            "columns": [{"column": "n", "sources": [
                {"source": {"dataset": "silver.posts", "column": "post_id"}, "kind": "AGGREGATION", "expression": "count(post_id)"}]}],
            "indirect": [{"source": {"dataset": "silver.posts", "column": "brand"}, "kind": "GROUP_BY"}]
        }))
        .unwrap();
        assert_eq!(lineage.column("n").unwrap().sources[0].kind, SourceKind::Aggregation);
        assert_eq!(lineage.indirect[0].kind, IndirectKind::GroupBy);
        let again = serde_json::from_value(serde_json::to_value(&lineage).unwrap()).unwrap();
        assert_eq!(lineage, again);
    }
}
