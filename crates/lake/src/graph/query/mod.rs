//! The language in which graphs are read: a part of Cypher that can say nothing but what is to be found.
//!
//! A query is parsed into a tree of our own, and every store makes its own question of that tree; no text of a query goes further.

mod cypher;
mod lexer;
mod parser;
mod scope;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub(crate) use self::cypher::readable_properties;

use super::Graph;
use crate::error::{Error, ErrorKind, Result};

/// A query that reads a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphQuery {
    pub(crate) matches: Vec<Match>,
    pub(crate) distinct: bool,
    pub(crate) columns: Vec<Column>,
    pub(crate) order: Vec<Order>,
    pub(crate) skip: u64,
    pub(crate) limit: Option<u64>,
}

/// `MATCH .. WHERE ..`. Its edges are all different from each other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Match {
    pub(crate) paths: Vec<Path>,
    pub(crate) condition: Option<Condition>,
}

/// `(a)-[r]->(b)-[s]-(c)`: one more node than edges.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    pub(crate) nodes: Vec<NodePattern>,
    pub(crate) steps: Vec<EdgePattern>,
}

/// `(a:Label|Other {property: 1})`; no label is any.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct NodePattern {
    pub(crate) variable: Option<String>,
    pub(crate) labels: Vec<String>,
    pub(crate) properties: Vec<(String, Value)>,
}

/// `-[r:TYPE|OTHER *1..3 {property: 1}]->`; no type is any.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EdgePattern {
    pub(crate) variable: Option<String>,
    pub(crate) kinds: Vec<String>,
    pub(crate) properties: Vec<(String, Value)>,
    pub(crate) direction: Direction,
    /// How many edges, at least and at most, where it is not one.
    pub(crate) length: Option<(u32, u32)>,
}

/// Which way an edge points, read from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Right,
    Left,
    Either,
}

/// What `WHERE` says: true, false or unknown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, Comparison, Operand),
    /// Two variables of the same sort: whether they are the same node or edge.
    Same(String, String, bool),
    IsNull(Operand, bool),
    In(Operand, Vec<Value>),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    StartsWith,
    EndsWith,
    Contains,
}

/// A value in a condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand {
    Literal(Value),
    Property(String, String),
    Type(String),
}

/// A column of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) value: Output,
}

/// What a column or an order is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    Scalar(Scalar),
    CountRows,
    Aggregate { function: Function, distinct: bool, of: Scalar },
}

/// A value of one row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar {
    Node(String),
    Edge(String),
    Property(String, String),
    Type(String),
    Labels(String),
}

/// What is made of many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    Sum,
    Min,
    Max,
    Avg,
    Collect,
}

/// By what the rows are ordered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) by: OrderBy,
    pub(crate) descending: bool,
}

/// A column by its number, or a value that is not returned.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OrderBy {
    Column(usize),
    Scalar(Scalar),
}

impl GraphQuery {
    /// Reads a query. It can hold one or more `MATCH`, each with a `WHERE`, and then `RETURN`, `ORDER BY`, `SKIP` and `LIMIT`.
    ///
    /// # Errors
    /// [`ErrorKind::Query`] with the line and column of what is not understood.
    pub fn parse(text: &str) -> Result<Self> {
        parser::parse(text)
    }

    /// The names of the answer's columns.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Refuses labels and types that the graph does not have.
    pub(crate) fn check(&self, graph: &Graph) -> Result<()> {
        let paths = || self.matches.iter().flat_map(|m| &m.paths);
        let labels = paths().flat_map(|path| &path.nodes).flat_map(|node| &node.labels);
        let kinds = paths().flat_map(|path| &path.steps).flat_map(|edge| &edge.kinds);
        known("label", &graph.labels, labels)?;
        known("type", &graph.kinds, kinds)
    }

    pub(crate) fn is_aggregated(&self) -> bool {
        self.columns.iter().any(|column| !matches!(column.value, Output::Scalar(_)))
    }
}

fn known<'a>(what: &str, all: &[String], mut named: impl Iterator<Item = &'a String>) -> Result<()> {
    let Some(unknown) = named.find(|name| !all.contains(name)) else { return Ok(()) };
    let names: Vec<String> = all.iter().map(|name| format!("`{name}`")).collect();
    let hint = if names.is_empty() { format!("it has no {what}") } else { format!("it has {}", names.join(", ")) };
    Err(Error::new(ErrorKind::Query, format!("the graph has no {what} `{unknown}`")).with_hint(hint))
}
