//! From what was found to rows.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::LocalGraph;
use super::pattern::{Entity, Row, property_of, type_of};
use super::value::{identity, total_order};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::query::{Function, GraphQuery, OrderBy, Output, Scalar};

/// The rows so far.
pub(super) struct Answer<'q> {
    graph: &'q LocalGraph,
    query: &'q GraphQuery,
    /// Rows to give after those that are skipped.
    limit: usize,
    /// Values of the columns, and what the rows are ordered by.
    rows: Vec<(Vec<Value>, Vec<Value>)>,
    seen: BTreeSet<String>,
    groups: BTreeMap<String, Group>,
}

/// Rows that are counted together: for a column, its value or the values it is made of.
struct Group {
    rows: u64,
    columns: Vec<Vec<Value>>,
}

impl<'q> Answer<'q> {
    pub(super) fn new(graph: &'q LocalGraph, query: &'q GraphQuery, limit: usize) -> Self {
        let limit = query.limit.map_or(limit, |own| limit.min(usize::try_from(own).unwrap_or(usize::MAX)));
        Self { graph, query, limit, rows: Vec::new(), seen: BTreeSet::new(), groups: BTreeMap::new() }
    }

    /// Takes a row; false when no more are needed.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<bool> {
        if self.query.is_aggregated() {
            self.count(row);
            return Ok(true);
        }
        let values: Vec<Value> = self.query.columns.iter().map(|column| self.value(row, &column.value)).collect();
        if self.query.distinct && !self.seen.insert(identities(&values)) {
            return Ok(true);
        }
        let order = self.query.order.iter().map(|order| match &order.by {
            OrderBy::Column(at) => values.get(*at).cloned().unwrap_or_default(),
            OrderBy::Scalar(scalar) => self.scalar(row, scalar),
        });
        let order = order.collect();
        self.rows.push((values, order));
        let needed = self.limit.saturating_add(self.skip());
        Ok(!self.query.order.is_empty() || self.rows.len() < needed)
    }

    pub(super) fn finish(mut self) -> Result<Vec<Map<String, Value>>> {
        if self.query.is_aggregated() {
            self.sum_up()?;
        }
        self.rows.sort_by(|(_, a), (_, b)| {
            let columns = self.query.order.iter().zip(a.iter().zip(b));
            let mut orders = columns.map(|(order, (a, b))| if order.descending { total_order(b, a) } else { total_order(a, b) });
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        });
        let (skip, names) = (self.skip(), self.query);
        let rows = self.rows.into_iter().skip(skip).take(self.limit);
        Ok(rows.map(|(values, _)| names.columns().map(str::to_owned).zip(values).collect()).collect())
    }

    fn skip(&self) -> usize {
        usize::try_from(self.query.skip).unwrap_or(usize::MAX)
    }

    fn count(&mut self, row: &Row<'_>) {
        let values: Vec<Value> = self.query.columns.iter().map(|column| self.value(row, &column.value)).collect();
        let is_key = |at: &usize| matches!(self.query.columns[*at].value, Output::Scalar(_));
        let keys: Vec<Value> = (0..values.len()).filter(is_key).map(|at| values[at].clone()).collect();
        let empty = || Group { rows: 0, columns: vec![Vec::new(); values.len()] };
        let group = self.groups.entry(identities(&keys)).or_insert_with(empty);
        group.rows += 1;
        for ((column, value), output) in group.columns.iter_mut().zip(values).zip(&self.query.columns) {
            let is_enough = matches!(output.value, Output::Scalar(_)) && !column.is_empty();
            if !is_enough && (!value.is_null() || matches!(output.value, Output::Scalar(_))) {
                column.push(value);
            }
        }
    }

    /// Makes a row of each group.
    fn sum_up(&mut self) -> Result<()> {
        let columns = &self.query.columns;
        let all_aggregated = columns.iter().all(|column| !matches!(column.value, Output::Scalar(_)));
        if self.groups.is_empty() && all_aggregated {
            self.groups.insert(String::new(), Group { rows: 0, columns: vec![Vec::new(); columns.len()] });
        }
        for group in std::mem::take(&mut self.groups).into_values() {
            let rows = group.rows;
            let values = columns.iter().zip(group.columns).map(|(column, found)| match &column.value {
                Output::Scalar(_) => Ok(found.into_iter().next().unwrap_or_default()),
                Output::CountRows => Ok(json!(rows)),
                Output::Aggregate { function, distinct, .. } => aggregate(*function, *distinct, found),
            });
            let values = values.collect::<Result<Vec<Value>>>()?;
            if self.query.distinct && !self.seen.insert(identities(&values)) {
                continue;
            }
            let order = self.query.order.iter().map(|order| match order.by {
                OrderBy::Column(at) => values.get(at).cloned().unwrap_or_default(),
                OrderBy::Scalar(_) => Value::Null,
            });
            let order = order.collect();
            self.rows.push((values, order));
        }
        Ok(())
    }

    fn value(&self, row: &Row<'_>, output: &Output) -> Value {
        match output {
            Output::Scalar(scalar) | Output::Aggregate { of: scalar, .. } => self.scalar(row, scalar),
            Output::CountRows => Value::Null,
        }
    }

    fn scalar(&self, row: &Row<'_>, scalar: &Scalar) -> Value {
        match scalar {
            Scalar::Property(variable, property) => property_of(self.graph, row, variable, property),
            Scalar::Type(variable) => type_of(self.graph, row, variable),
            Scalar::Node(name) | Scalar::Edge(name) => match row.get(name.as_str()) {
                Some(Entity::Node(node)) => {
                    let node = &self.graph.nodes[*node];
                    json!({"label": node.key.label, "id": node.key.id, "properties": node.properties})
                }
                Some(Entity::Edge(edge)) => {
                    let edge = &self.graph.edges[*edge];
                    json!({"type": edge.key.kind, "from": edge.key.from, "to": edge.key.to, "properties": edge.properties})
                }
                None => Value::Null,
            },
            Scalar::Labels(name) => match row.get(name.as_str()) {
                Some(Entity::Node(node)) => json!([self.graph.nodes[*node].key.label]),
                _ => Value::Null,
            },
        }
    }
}

fn identities(values: &[Value]) -> String {
    values.iter().map(identity).collect::<Vec<_>>().join("\n")
}

fn aggregate(function: Function, distinct: bool, mut values: Vec<Value>) -> Result<Value> {
    if distinct {
        let mut seen = BTreeSet::new();
        values.retain(|value| seen.insert(identity(value)));
    }
    Ok(match function {
        Function::Count => json!(values.len()),
        Function::Collect => Value::Array(values),
        Function::Min => values.into_iter().min_by(total_order).unwrap_or_default(),
        Function::Max => values.into_iter().max_by(total_order).unwrap_or_default(),
        Function::Sum => sum(&values)?,
        Function::Avg if values.is_empty() => Value::Null,
        Function::Avg => json!(sum(&values)?.as_f64().unwrap_or_default() / values.len() as f64),
    })
}

fn sum(values: &[Value]) -> Result<Value> {
    let wrong = |why: &str| Error::new(ErrorKind::Query, format!("cannot run the query: {why}"));
    if let Some(integers) = values.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>() {
        let sum = integers.into_iter().try_fold(0_i64, i64::checked_add);
        return sum.map(|sum| json!(sum)).ok_or_else(|| wrong("a sum is too large"));
    }
    let floats = values.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>();
    floats.map(|floats| json!(floats.iter().sum::<f64>())).ok_or_else(|| wrong("only numbers have a sum or an average"))
}
