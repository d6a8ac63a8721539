//! Finding what patterns describe, one element after another.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::LocalGraph;
use super::value::{compare, equal};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::query::{Condition, EdgePattern, GraphQuery, NodePattern, Operand};

/// Elements that are tried before a query is given up.
const MOST_STEPS: u64 = 20_000_000;

/// What a variable stands for, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entity {
    Node(usize),
    Edge(usize),
}

/// What the variables stand for.
pub(super) type Row<'q> = BTreeMap<&'q str, Entity>;

/// Takes a row; false when no more are needed.
pub(super) type Take<'t, 'q> = dyn FnMut(&Row<'q>) -> Result<bool> + 't;

/// What is to be found next.
enum Part<'q> {
    Start(&'q NodePattern),
    Step(&'q EdgePattern, &'q NodePattern),
    /// The end of a `MATCH`.
    Check(Option<&'q Condition>),
}

pub(super) struct Matcher<'q> {
    graph: &'q LocalGraph,
    parts: Vec<Part<'q>>,
    row: Row<'q>,
    /// Edges of the current `MATCH`.
    used: Vec<usize>,
    steps: u64,
}

impl<'q> Matcher<'q> {
    pub(super) fn new(graph: &'q LocalGraph, query: &'q GraphQuery) -> Self {
        let mut parts = Vec::new();
        for one in &query.matches {
            for path in &one.paths {
                parts.extend(path.nodes.first().map(Part::Start));
                parts.extend(path.steps.iter().zip(path.nodes.iter().skip(1)).map(|(edge, node)| Part::Step(edge, node)));
            }
            parts.push(Part::Check(one.condition.as_ref()));
        }
        Self { graph, parts, row: Row::new(), used: Vec::new(), steps: 0 }
    }

    pub(super) fn run(&mut self, take: &mut Take<'_, 'q>) -> Result<()> {
        self.part(0, 0, take).map(drop)
    }

    /// Goes on with a part, from a node; false when no more rows are needed.
    fn part(&mut self, at: usize, from: usize, take: &mut Take<'_, 'q>) -> Result<bool> {
        match self.parts.get(at) {
            None => take(&self.row),
            Some(Part::Check(condition)) => {
                if condition.is_some_and(|condition| self.holds(condition) != Some(true)) {
                    return Ok(true);
                }
                let used = std::mem::take(&mut self.used);
                let more = self.part(at + 1, from, take);
                self.used = used;
                more
            }
            Some(Part::Start(pattern)) => {
                let pattern: &'q NodePattern = pattern;
                let known = pattern.variable.as_ref().and_then(|name| self.row.get(name.as_str()));
                let candidates = match known {
                    Some(Entity::Node(node)) => *node..*node + 1,
                    _ => 0..self.graph.nodes.len(),
                };
                for node in candidates {
                    if !self.arrive(at, node, pattern, take)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Some(Part::Step(edge, node)) => {
                let (edge, node): (&'q EdgePattern, &'q NodePattern) = (edge, node);
                match edge.length {
                    Some((least, most)) => self.walk(at, from, (edge, node), (least, most), take),
                    None => self.step(at, from, (edge, node), take),
                }
            }
        }
    }

    /// Goes on behind a node, if it fits.
    fn arrive(&mut self, at: usize, node: usize, pattern: &'q NodePattern, take: &mut Take<'_, 'q>) -> Result<bool> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(Error::new(ErrorKind::Query, "cannot run the query: it took too long")
                .with_hint("ask for less: name labels and ids, and shorten `*1..n`"));
        }
        let known = pattern.variable.as_ref().and_then(|name| self.row.get(name.as_str()).copied());
        let key = &self.graph.nodes[node].key;
        let fits = known.is_none_or(|known| known == Entity::Node(node))
            && (pattern.labels.is_empty() || pattern.labels.contains(&key.label))
            && has(&pattern.properties, |name| self.graph.node_property(node, name));
        if !fits {
            return Ok(true);
        }
        let new = pattern.variable.as_deref().filter(|_| known.is_none());
        if let Some(name) = new {
            self.row.insert(name, Entity::Node(node));
        }
        let more = self.part(at + 1, node, take);
        if let Some(name) = new {
            self.row.remove(name);
        }
        more
    }

    fn step(
        &mut self,
        at: usize,
        from: usize,
        step: (&'q EdgePattern, &'q NodePattern),
        take: &mut Take<'_, 'q>,
    ) -> Result<bool> {
        for (edge, to) in self.graph.steps(from, step.0.direction) {
            if !self.can_take(edge, step.0) {
                continue;
            }
            self.used.push(edge);
            if let Some(name) = &step.0.variable {
                self.row.insert(name, Entity::Edge(edge));
            }
            let more = self.arrive(at, to, step.1, take);
            if let Some(name) = &step.0.variable {
                self.row.remove(name.as_str());
            }
            self.used.pop();
            if !more? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Any way of between `left.0` and `left.1` edges.
    fn walk(
        &mut self,
        at: usize,
        from: usize,
        step: (&'q EdgePattern, &'q NodePattern),
        left: (u32, u32),
        take: &mut Take<'_, 'q>,
    ) -> Result<bool> {
        if left.0 == 0 && !self.arrive(at, from, step.1, take)? {
            return Ok(false);
        }
        if left.1 == 0 {
            return Ok(true);
        }
        for (edge, to) in self.graph.steps(from, step.0.direction) {
            if !self.can_take(edge, step.0) {
                continue;
            }
            self.used.push(edge);
            let more = self.walk(at, to, step, (left.0.saturating_sub(1), left.1 - 1), take);
            self.used.pop();
            if !more? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn can_take(&mut self, edge: usize, pattern: &EdgePattern) -> bool {
        self.steps += 1;
        !self.used.contains(&edge)
            && (pattern.kinds.is_empty() || pattern.kinds.contains(&self.graph.edges[edge].key.kind))
            && has(&pattern.properties, |name| self.graph.edge_property(edge, name))
    }

    /// Whether a condition holds; it may be unknown.
    fn holds(&self, condition: &Condition) -> Option<bool> {
        match condition {
            Condition::And(all) => {
                let found: Vec<_> = all.iter().map(|one| self.holds(one)).collect();
                if found.contains(&Some(false)) {
                    Some(false)
                } else {
                    found.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
                }
            }
            Condition::Or(any) => {
                let found: Vec<_> = any.iter().map(|one| self.holds(one)).collect();
                if found.contains(&Some(true)) {
                    Some(true)
                } else {
                    found.into_iter().collect::<Option<Vec<_>>>().map(|_| false)
                }
            }
            Condition::Not(inner) => self.holds(inner).map(|is| !is),
            Condition::Compare(left, comparison, right) => compare(&self.operand(left), *comparison, &self.operand(right)),
            Condition::Same(a, b, is_equal) => Some((self.row.get(a.as_str()) == self.row.get(b.as_str())) == *is_equal),
            Condition::IsNull(operand, is_null) => Some(self.operand(operand).is_null() == *is_null),
            Condition::In(_, values) if values.is_empty() => Some(false),
            Condition::In(operand, values) => {
                let left = self.operand(operand);
                (!left.is_null()).then(|| values.iter().any(|value| equal(&left, value) == Some(true)))
            }
        }
    }

    fn operand(&self, operand: &Operand) -> Value {
        match operand {
            Operand::Literal(value) => value.clone(),
            Operand::Property(variable, property) => property_of(self.graph, &self.row, variable, property),
            Operand::Type(variable) => type_of(self.graph, &self.row, variable),
        }
    }
}

fn has(wanted: &[(String, Value)], property: impl Fn(&str) -> Value) -> bool {
    wanted.iter().all(|(name, value)| equal(&property(name), value) == Some(true))
}

pub(super) fn property_of(graph: &LocalGraph, row: &Row<'_>, variable: &str, property: &str) -> Value {
    match row.get(variable) {
        Some(Entity::Node(node)) => graph.node_property(*node, property),
        Some(Entity::Edge(edge)) => graph.edge_property(*edge, property),
        None => Value::Null,
    }
}

pub(super) fn type_of(graph: &LocalGraph, row: &Row<'_>, variable: &str) -> Value {
    match row.get(variable) {
        Some(Entity::Edge(edge)) => json!(graph.edges[*edge].key.kind),
        _ => Value::Null,
    }
}
