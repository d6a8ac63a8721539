//! The Cypher that Neo4j is asked. Of the query's own text only checked names come into it; values are parameters.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    Comparison, Condition, Direction, EdgePattern, Function, GraphQuery, Match, NodePattern, Operand, OrderBy, Output, Scalar,
};
use crate::error::Result;
use crate::graph::Graph;

/// Binds whatever a pattern finds, with the parameters of the workspace and the graph.
const BOUND: &str = "_graph: $graph, workspace_id: $workspace";

impl GraphQuery {
    /// The question to Neo4j and its parameters, beside `workspace` and `graph`, which every node and edge is bound to. The columns of
    /// the answer are called `c0`, `c1` and so on; it has at most `limit` rows.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Query`] when the graph has no such label or type.
    pub fn to_cypher(&self, graph: &Graph, limit: usize) -> Result<(String, Vec<(String, Value)>)> {
        self.check(graph)?;
        let mut writer = Writer { graph, text: String::new(), parameters: Vec::new(), paths: 0 };
        for one in &self.matches {
            writer.one_match(one);
        }
        writer.answer(self, limit as u64);
        Ok((writer.text, writer.parameters))
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    text: String,
    parameters: Vec<(String, Value)>,
    paths: usize,
}

impl Writer<'_> {
    fn add(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// A parameter for a value.
    fn parameter(&mut self, value: &Value) -> String {
        let name = format!("p{}", self.parameters.len());
        self.parameters.push((name.clone(), value.clone()));
        format!("${name}")
    }

    fn one_match(&mut self, one: &Match) {
        self.add("MATCH ");
        let mut guards = Vec::new();
        for (at, path) in one.paths.iter().enumerate() {
            self.add(if at == 0 { "" } else { ", " });
            if path.steps.iter().any(|step| step.length.is_some()) {
                let name = format!("`_p{}`", self.paths);
                self.paths += 1;
                self.add(&format!("{name} = "));
                let bound = "x._graph = $graph AND x.workspace_id = $workspace";
                guards.push(format!("all(x IN nodes({name}) WHERE {bound}) AND all(x IN relationships({name}) WHERE {bound})"));
            }
            for (at, node) in path.nodes.iter().enumerate() {
                if let Some(step) = at.checked_sub(1).and_then(|at| path.steps.get(at)) {
                    self.edge(step);
                }
                self.node(node);
            }
        }
        let condition = one.condition.as_ref().map(|condition| format!("({})", self.condition(condition)));
        guards.extend(condition);
        if !guards.is_empty() {
            self.add(&format!(" WHERE {}", guards.join(" AND ")));
        }
        self.add(" ");
    }

    fn node(&mut self, node: &NodePattern) {
        let labels = if node.labels.is_empty() { &self.graph.labels } else { &node.labels };
        let head = format!("({}{}", quoted(node.variable.as_deref()), alternatives(labels));
        let properties = self.properties(&node.properties);
        self.add(&format!("{head} {properties})"));
    }

    fn edge(&mut self, edge: &EdgePattern) {
        let kinds = if edge.kinds.is_empty() { &self.graph.kinds } else { &edge.kinds };
        let length = edge.length.map_or(String::new(), |(least, most)| format!("*{least}..{most}"));
        let inside = format!("{}{}{length}", quoted(edge.variable.as_deref()), alternatives(kinds));
        let properties = self.properties(&edge.properties);
        let (left, right) = match edge.direction {
            Direction::Left => ("<-", "-"),
            Direction::Right => ("-", "->"),
            Direction::Either => ("-", "-"),
        };
        self.add(&format!("{left}[{inside} {properties}]{right}"));
    }

    fn properties(&mut self, properties: &[(String, Value)]) -> String {
        let mut text = format!("{{{BOUND}");
        for (name, value) in properties {
            let parameter = self.parameter(value);
            let _ = write!(text, ", `{name}`: {parameter}");
        }
        text + "}"
    }

    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::And(all) => self.joined(all, " AND "),
            Condition::Or(any) => self.joined(any, " OR "),
            Condition::Not(inner) => format!("NOT ({})", self.condition(inner)),
            Condition::Compare(left, comparison, right) => {
                format!("{} {} {}", self.operand(left), sign(*comparison), self.operand(right))
            }
            Condition::Same(a, b, is_equal) => format!("`{a}` {} `{b}`", if *is_equal { "=" } else { "<>" }),
            Condition::IsNull(operand, is_null) => {
                format!("{} IS {}NULL", self.operand(operand), if *is_null { "" } else { "NOT " })
            }
            Condition::In(operand, values) => {
                let left = self.operand(operand);
                let values: Vec<String> = values.iter().map(|value| self.parameter(value)).collect();
                format!("{left} IN [{}]", values.join(", "))
            }
        }
    }

    fn joined(&mut self, conditions: &[Condition], word: &str) -> String {
        conditions.iter().map(|condition| format!("({})", self.condition(condition))).collect::<Vec<_>>().join(word)
    }

    fn operand(&mut self, operand: &Operand) -> String {
        match operand {
            Operand::Literal(value) => self.parameter(value),
            Operand::Property(variable, property) => format!("`{variable}`.`{property}`"),
            Operand::Type(variable) => format!("type(`{variable}`)"),
        }
    }

    fn answer(&mut self, query: &GraphQuery, limit: u64) {
        self.add(if query.distinct { "WITH DISTINCT " } else { "WITH " });
        let columns = query.columns.iter().enumerate().map(|(at, column)| format!("{} AS c{at}", output(&column.value)));
        let columns = columns.collect::<Vec<_>>().join(", ");
        self.add(&columns);
        let order = query.order.iter().map(|order| {
            let by = match &order.by {
                OrderBy::Column(at) => format!("c{at}"),
                OrderBy::Scalar(value) => scalar(value),
            };
            by + if order.descending { " DESC" } else { "" }
        });
        let order = order.collect::<Vec<_>>().join(", ");
        if !order.is_empty() {
            self.add(&format!(" ORDER BY {order}"));
        }
        let most = |number: u64| json!(i64::try_from(number).unwrap_or(i64::MAX));
        let skip = self.parameter(&most(query.skip));
        let limit = self.parameter(&most(query.limit.map_or(limit, |own| own.min(limit))));
        let shown = query.columns.iter().enumerate().map(|(at, column)| format!("{} AS c{at}", shown(&column.value, at)));
        let shown = shown.collect::<Vec<_>>().join(", ");
        self.add(&format!(" SKIP {skip} LIMIT {limit} RETURN {shown}"));
    }
}

/// A value as it can be read: the driver takes the integers from -16 to -1 for those from 240 to 255, so they come as `{negative: 1}`.
fn readable(value: &str) -> String {
    format!(
        "CASE WHEN {value} IS :: LIST<INTEGER NOT NULL> NOT NULL THEN [i IN {value} | {}] ELSE {} END",
        readable_number("i"),
        readable_number(value)
    )
}

/// As [`readable`], of what cannot be a list.
fn readable_number(value: &str) -> String {
    format!(
        "CASE WHEN {value} IS :: INTEGER NOT NULL AND {value} < 0 AND {value} >= -16 THEN {{negative: -{value}}} ELSE {value} END"
    )
}

/// The properties of a node or an edge, as pairs of name and value that can be read.
pub(crate) fn readable_properties(of: &str) -> String {
    format!("[k IN keys({of}) | [k, {}]]", readable(&format!("{of}[k]")))
}

/// A column as it is returned.
fn shown(output: &Output, at: usize) -> String {
    let column = format!("c{at}");
    match output {
        Output::Scalar(value) => shown_scalar(value, &column),
        Output::Aggregate { function: Function::Collect, of, .. } => format!("[v IN {column} | {}]", shown_scalar(of, "v")),
        Output::Aggregate { function: Function::Min | Function::Max, .. } => readable(&column),
        Output::Aggregate { function: Function::Sum, .. } => readable_number(&column),
        Output::Aggregate { .. } | Output::CountRows => column,
    }
}

fn shown_scalar(value: &Scalar, name: &str) -> String {
    let properties = readable_properties(name);
    match value {
        Scalar::Node(_) => format!("{{node: {name}, properties: {properties}}}"),
        // An edge comes with its ends, which Neo4j would not say.
        Scalar::Edge(_) => {
            format!("{{type: type({name}), from: startNode({name}), to: endNode({name}), properties: {properties}}}")
        }
        Scalar::Property(..) => readable(name),
        Scalar::Type(_) | Scalar::Labels(_) => name.to_owned(),
    }
}

fn quoted(variable: Option<&str>) -> String {
    variable.map_or(String::new(), |name| format!("`{name}`"))
}

fn alternatives(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { String::new() } else { format!(":{}", names.join("|")) }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
        Comparison::StartsWith => "STARTS WITH",
        Comparison::EndsWith => "ENDS WITH",
        Comparison::Contains => "CONTAINS",
    }
}

fn output(output: &Output) -> String {
    match output {
        Output::Scalar(value) => scalar(value),
        Output::CountRows => "count(*)".to_owned(),
        Output::Aggregate { function, distinct, of } => {
            let name = match function {
                Function::Count => "count",
                Function::Sum => "sum",
                Function::Min => "min",
                Function::Max => "max",
                Function::Avg => "avg",
                Function::Collect => "collect",
            };
            format!("{name}({}{})", if *distinct { "DISTINCT " } else { "" }, scalar(of))
        }
    }
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Node(name) | Scalar::Edge(name) => format!("`{name}`"),
        Scalar::Property(name, property) => format!("`{name}`.`{property}`"),
        Scalar::Type(name) => format!("type(`{name}`)"),
        Scalar::Labels(name) => format!("labels(`{name}`)"),
    }
}
