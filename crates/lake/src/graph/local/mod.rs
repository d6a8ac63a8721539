//! A workspace's graph in memory, for what a store without a query engine for graphs is asked.

mod answer;
mod load;
mod pattern;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use self::answer::Answer;
use self::pattern::Matcher;
use super::is_reserved;
use super::query::{Direction, GraphQuery};
use super::store::{Edge, Graph, Node, NodeKey, Subgraph};
use crate::error::Result;

/// The nodes and edges of one workspace's graph.
#[derive(Debug, Default)]
pub struct LocalGraph {
    /// Sorted by key.
    nodes: Vec<Node>,
    /// Sorted by key.
    edges: Vec<Edge>,
    /// Of each edge, the numbers of its ends.
    ends: Vec<(usize, usize)>,
    /// Of each node, the numbers of the edges that start there.
    outgoing: Vec<Vec<usize>>,
    /// Of each node, the numbers of the edges that end there.
    incoming: Vec<Vec<usize>>,
}

impl LocalGraph {
    /// A graph of these nodes and edges; edges with an end that is not there are left out.
    pub fn new(mut nodes: Vec<Node>, mut edges: Vec<Edge>) -> Self {
        nodes.iter_mut().for_each(|node| keep_own(&mut node.properties, |name| name == "id"));
        edges.iter_mut().for_each(|edge| keep_own(&mut edge.properties, |_| false));
        nodes.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        edges.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let numbers: BTreeMap<&NodeKey, usize> = nodes.iter().enumerate().map(|(at, node)| (&node.key, at)).collect();
        let ends_of = |edge: &Edge| numbers.get(&edge.key.from).copied().zip(numbers.get(&edge.key.to).copied());
        let (edges, ends): (Vec<_>, Vec<_>) =
            edges.into_iter().filter_map(|edge| ends_of(&edge).map(|ends| (edge, ends))).unzip();
        let (mut outgoing, mut incoming) = (vec![Vec::new(); nodes.len()], vec![Vec::new(); nodes.len()]);
        for (at, (from, to)) in ends.iter().enumerate() {
            outgoing[*from].push(at);
            incoming[*to].push(at);
        }
        Self { nodes, edges, ends, outgoing, incoming }
    }

    /// As [`super::GraphStore::query`].
    ///
    /// # Errors
    /// [`crate::ErrorKind::Query`] when the graph has no such label or type, values do not suit the query, or it takes too long.
    pub fn query(&self, graph: &Graph, query: &GraphQuery, limit: usize) -> Result<Vec<Map<String, Value>>> {
        query.check(graph)?;
        let mut answer = Answer::new(self, query, limit);
        Matcher::new(self, query).run(&mut |row| answer.add(row))?;
        answer.finish()
    }

    /// As [`super::GraphStore::neighbors`].
    pub fn neighbors(&self, node: &NodeKey, depth: u32, limit: usize) -> Subgraph {
        let Ok(start) = self.nodes.binary_search_by(|found| found.key.cmp(node)) else { return Subgraph::default() };
        if limit == 0 {
            return Subgraph::default();
        }
        let (mut seen, mut reached) = (BTreeSet::from([start]), BTreeSet::from([start]));
        for _ in 0..depth {
            let next: BTreeSet<usize> =
                reached.iter().flat_map(|at| self.steps(*at, Direction::Either)).map(|(_, to)| to).collect();
            reached = next.difference(&seen).take(limit - seen.len()).copied().collect();
            if reached.is_empty() {
                break;
            }
            seen.extend(&reached);
        }
        let inside = |at: &usize| seen.contains(&self.ends[*at].0) && seen.contains(&self.ends[*at].1);
        let edges = (0..self.edges.len()).filter(inside).map(|at| self.edges[at].clone()).collect();
        Subgraph { nodes: seen.iter().map(|at| self.nodes[*at].clone()).collect(), edges }
    }

    /// The edges from a node, each with its other end.
    fn steps(&self, node: usize, direction: Direction) -> Vec<(usize, usize)> {
        let out = self.outgoing[node].iter().map(|edge| (*edge, self.ends[*edge].1));
        let back = self.incoming[node].iter().map(|edge| (*edge, self.ends[*edge].0));
        match direction {
            Direction::Right => out.collect(),
            Direction::Left => back.collect(),
            // One that ends where it starts is one edge.
            Direction::Either => out.chain(back.filter(|(_, other)| *other != node)).collect(),
        }
    }

    fn node_property(&self, node: usize, name: &str) -> Value {
        let node = &self.nodes[node];
        if name == "id" { json!(node.key.id) } else { node.properties.get(name).cloned().unwrap_or_default() }
    }

    fn edge_property(&self, edge: usize, name: &str) -> Value {
        self.edges[edge].properties.get(name).cloned().unwrap_or_default()
    }
}

/// Leaves what Neo4j would keep of properties, as it would keep it.
fn keep_own(properties: &mut Map<String, Value>, is_kept: impl Fn(&str) -> bool) {
    let own = std::mem::take(properties).into_iter().filter(|(name, _)| !is_reserved(name) && !is_kept(name));
    let mut own: Vec<(String, Value)> = own.filter_map(|(name, value)| Some((name, super::neo4j::as_held(&value)?))).collect();
    own.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    *properties = own.into_iter().collect();
}
