//! The graph of a pipeline: one query for its nodes and one for its edges, made of what each entry adds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::Expr;
use futures::FutureExt;

use super::compile::{CompiledGold, Planner, fingerprint};
use super::expression::Scope;
use super::model::{EdgeEnd, GraphSource, Layer, Pipeline, Properties, TableName};
use super::name::{did_you_mean, one_of};
use super::sql::quote_hidden_names;
use super::types;
use super::vectors::missing_columns;
use crate::WORKSPACE_COLUMN;
use crate::diagnostic::Spanned;
use crate::graph::Graph;

/// The graph of a pipeline, ready to be built.
#[derive(Debug, Clone)]
pub struct CompiledGraph {
    /// Its labels and types.
    pub graph: Graph,
    /// The table of nodes: `label`, `id`, `properties` (JSON text), `hash`.
    pub nodes: CompiledGold,
    /// The table of edges: `kind`, `from_label`, `from_id`, `to_label`, `to_id`, `properties`, `hash`; `None` when no entry has edges.
    pub edges: Option<CompiledGold>,
    /// What each property, named `Person.name` or `WROTE.at`, and each id is made from.
    pub properties: Vec<PropertySource>,
}

/// What one entry makes a property from.
#[derive(Debug, Clone)]
pub struct PropertySource {
    /// `Person.id`, `Person.name`, `WROTE.at`.
    pub property: String,
    /// The table it is of.
    pub input: TableName,
    /// Over the input's columns.
    pub expr: Expr,
}

/// The names of the tables of a pipeline's graph.
pub(super) fn graph_tables(pipeline: &str) -> (TableName, TableName) {
    let name: String = pipeline.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    (TableName::new(Layer::Graph, format!("{name}_nodes")), TableName::new(Layer::Graph, format!("{name}_edges")))
}

/// Compiles what `graph:` says; `schemas` are the columns of the tables it follows. Findings go to `planner`.
pub(super) fn compile_graph(
    planner: &mut Planner<'_>,
    pipeline: &Pipeline,
    schemas: &BTreeMap<TableName, SchemaRef>,
) -> Option<CompiledGraph> {
    let before = planner.errors();
    let mut work = Work { planner, nodes: BTreeMap::new(), edges: BTreeMap::new(), properties: vec![] };
    for source in &pipeline.graph {
        if let Some(schema) = schemas.get(&source.from.value) {
            work.source(source, schema);
        }
    }
    let Work { nodes, edges, properties, .. } = work;
    if planner.errors() > before || nodes.is_empty() {
        return None;
    }
    let (nodes_name, edges_name) = graph_tables(&pipeline.name.value);
    let graph = Graph {
        name: pipeline.name.value.clone(),
        labels: nodes.keys().cloned().collect(),
        kinds: edges.keys().map(|(kind, ..)| kind.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
    };
    let nodes = query(planner, pipeline, nodes_name, &nodes_sql(&nodes), inputs(nodes.values().flatten()))?;
    let edges = match edges.is_empty() {
        true => None,
        false => Some(query(planner, pipeline, edges_name, &edges_sql(&edges), inputs(edges.values().flatten()))?),
    };
    Some(CompiledGraph { graph, nodes, edges, properties })
}

/// What an entry adds to the nodes of a label, or to the edges of a type between two labels.
struct Part {
    input: TableName,
    filter: Option<String>,
    /// What names the node, or both ends.
    ids: Vec<String>,
    properties: BTreeMap<String, (String, DataType)>,
}

struct Work<'w, 'p> {
    planner: &'w mut Planner<'p>,
    nodes: BTreeMap<String, Vec<Part>>,
    edges: BTreeMap<(String, String, String), Vec<Part>>,
    properties: Vec<PropertySource>,
}

impl Work<'_, '_> {
    fn source(&mut self, source: &GraphSource, schema: &SchemaRef) {
        let own = Schema::new(schema.fields().iter().filter(|f| f.name() != WORKSPACE_COLUMN).cloned().collect::<Vec<_>>());
        let Ok(scope) = Scope::new(&Arc::new(own), format!("`{}`", source.from.value), None) else { return };
        if let Some(sql) = &source.filter {
            let _ = self.planner.condition(sql, &scope, "`where`");
        }
        let filter = source.filter.as_ref().map(|sql| sql.value.clone());
        for node in &source.nodes {
            self.id(source, &scope, &node.label, &node.id);
            let properties = self.read_properties(source, &scope, &node.label, &node.properties);
            let part =
                Part { input: source.from.value.clone(), filter: filter.clone(), ids: vec![node.id.value.clone()], properties };
            self.agree(&node.label, &node.properties, &part, |work| work.nodes.get(&node.label.value));
            self.nodes.entry(node.label.value.clone()).or_default().push(part);
        }
        for edge in &source.edges {
            let ends = [self.end(source, &scope, &edge.from), self.end(source, &scope, &edge.to)];
            let properties = self.read_properties(source, &scope, &edge.kind, &edge.properties);
            let [Some(from), Some(to)] = ends else { continue };
            for (end, id) in [(&edge.from, &from), (&edge.to, &to)].into_iter().filter(|(end, _)| end.id.is_some()) {
                // An edge leads to nodes that are there: its ends are nodes, whoever else names them.
                let part = Part {
                    input: source.from.value.clone(),
                    filter: filter.clone(),
                    ids: vec![id.clone()],
                    properties: BTreeMap::new(),
                };
                self.nodes.entry(end.label.value.clone()).or_default().push(part);
            }
            let filter = conjunction(&filter, &[&from, &to]);
            let part = Part { input: source.from.value.clone(), filter: Some(filter), ids: vec![from, to], properties };
            let key = (edge.kind.value.clone(), edge.from.label.value.clone(), edge.to.label.value.clone());
            self.agree(&edge.kind, &edge.properties, &part, |work| work.edges.get(&key));
            self.edges.entry(key).or_default().push(part);
        }
    }

    fn id(&mut self, source: &GraphSource, scope: &Scope, label: &Spanned<String>, sql: &Spanned<String>) {
        let Some(typed) = self.planner.expression(sql, scope) else { return };
        if types::is_nested(&typed.data_type) {
            let message = format!("`{}` is named by {}, which is no plain value", label.value, types::display(&typed.data_type));
            self.planner.error("type-mismatch", sql.span, message, Some("take one of its fields or items".to_owned()));
        }
        let property = format!("{}.id", label.value);
        self.properties.push(PropertySource { property, input: source.from.value.clone(), expr: typed.expr });
    }

    /// What names the node at an end of an edge.
    fn end(&mut self, source: &GraphSource, scope: &Scope, end: &EdgeEnd) -> Option<String> {
        if let Some(id) = &end.id {
            self.id(source, scope, &end.label, id);
            return Some(id.value.clone());
        }
        let node = source.nodes.iter().find(|n| n.label.value == end.label.value);
        if node.is_none() {
            let labels: Vec<&str> = source.nodes.iter().map(|n| n.label.value.as_str()).collect();
            let help = did_you_mean(&end.label.value, labels.iter().copied()).unwrap_or_else(|| match labels.as_slice() {
                [] => "add it under `nodes:`".to_owned(),
                labels => format!("use {}, or say what names it: `{{ {}: column }}`", one_of(labels), end.label.value),
            });
            let message = format!("`graph.{}` has no node `{}`", source.name.value, end.label.value);
            self.planner.error("unknown-label", end.label.span, message, Some(help));
        }
        node.map(|n| n.id.value.clone())
    }

    fn read_properties(
        &mut self,
        source: &GraphSource,
        scope: &Scope,
        owner: &Spanned<String>,
        properties: &Properties,
    ) -> BTreeMap<String, (String, DataType)> {
        let mut read = BTreeMap::new();
        for (name, sql) in missing_columns(self.planner, scope.schema(), &source.from.value, properties) {
            if name.value == "id" || name.value == WORKSPACE_COLUMN || name.value.starts_with('_') {
                let help = "give it another name: `properties: { my_name: ... }`".to_owned();
                self.planner.error("bad-name", name.span, format!("`{}` is kept for the graph", name.value), Some(help));
                continue;
            }
            let Some(typed) = self.planner.expression(sql, scope) else { continue };
            if types::is_nested(&typed.data_type) || typed.data_type == DataType::Null {
                let message = format!("`{}` is {}, which is no plain value", name.value, types::display(&typed.data_type));
                self.planner.error(
                    "type-mismatch",
                    sql.span,
                    message,
                    Some("take one of its fields, or make a text of it".to_owned()),
                );
                continue;
            }
            let property = format!("{}.{}", owner.value, name.value);
            self.properties.push(PropertySource { property, input: source.from.value.clone(), expr: typed.expr });
            read.insert(name.value.clone(), (sql.value.clone(), typed.data_type));
        }
        read
    }

    /// Complains where two entries give a property two types.
    fn agree(
        &mut self,
        owner: &Spanned<String>,
        written: &Properties,
        part: &Part,
        others: impl Fn(&Self) -> Option<&Vec<Part>>,
    ) {
        let mut found = vec![];
        for (name, (_, data_type)) in &part.properties {
            let known = others(self).into_iter().flatten().find_map(|p| p.properties.get(name)).map(|(_, t)| t.clone());
            let place = written.iter().find(|(n, _)| n.value == *name);
            if let (Some(known), Some((_, sql))) = (known, place)
                && known != *data_type
            {
                let message = format!(
                    "`{}.{name}` is {} here and {} elsewhere",
                    owner.value,
                    types::display(data_type),
                    types::display(&known)
                );
                found.push((sql.span, message));
            }
        }
        for (span, message) in found {
            self.planner.error("type-mismatch", span, message, Some("cast both to one type".to_owned()));
        }
    }
}

fn inputs<'p>(parts: impl Iterator<Item = &'p Part>) -> Vec<TableName> {
    parts.map(|p| p.input.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn conjunction(filter: &Option<String>, ids: &[&String]) -> String {
    let there = ids.iter().map(|id| format!("CAST(({id}\n) AS VARCHAR) <> ''"));
    filter.iter().map(|f| format!("({f}\n)")).chain(there).collect::<Vec<_>>().join(" AND ")
}

/// The rows of some parts: what names them, under `names`, and all properties of any part, null where a part has it not.
fn union(parts: &[Part], names: &[&str]) -> String {
    let all: BTreeMap<&String, &DataType> = parts.iter().flat_map(|p| &p.properties).map(|(n, (_, t))| (n, t)).collect();
    let selects = parts.iter().map(|part| {
        let ids = part.ids.iter().zip(names).map(|(id, name)| format!("CAST(({id}\n) AS VARCHAR) AS {name}"));
        let values = all.iter().map(|(name, data_type)| match part.properties.get(*name) {
            Some((sql, _)) => format!("({sql}\n) AS {}", property(name)),
            None => format!("arrow_cast(NULL, '{data_type}') AS {}", property(name)),
        });
        let columns: Vec<String> = ids.chain(values).collect();
        let there = part.filter.clone().unwrap_or_else(|| conjunction(&None, &[]));
        let filter = if there.is_empty() { String::new() } else { format!(" WHERE {there}\n") };
        format!("SELECT {} FROM {}{filter}", columns.join(", "), part.input)
    });
    selects.collect::<Vec<_>>().join(" UNION ALL ")
}

/// A property's name as a column that no id is called.
fn property(name: &str) -> String {
    quoted(&format!("p_{name}"))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The properties of a group of rows as JSON: where rows differ, the greatest value of each.
fn document(parts: &[Part]) -> String {
    let all: BTreeSet<&String> = parts.iter().flat_map(|p| p.properties.keys()).collect();
    if all.is_empty() {
        return "'{}'".to_owned();
    }
    let fields = all.iter().map(|name| format!("'{}', max({})", name.replace('\'', "''"), property(name)));
    format!("to_json(named_struct({}))", fields.collect::<Vec<_>>().join(", "))
}

fn nodes_sql(nodes: &BTreeMap<String, Vec<Part>>) -> String {
    let labels = nodes.iter().map(|(label, parts)| {
        format!(
            "SELECT '{label}' AS label, node AS id, {} AS properties FROM ({}) WHERE node <> '' GROUP BY node",
            document(parts),
            union(parts, &["node"])
        )
    });
    let all = labels.collect::<Vec<_>>().join(" UNION ALL ");
    format!("SELECT label, id, properties, md5(properties) AS hash FROM ({all})")
}

fn edges_sql(edges: &BTreeMap<(String, String, String), Vec<Part>>) -> String {
    let kinds = edges.iter().map(|((kind, from, to), parts)| {
        format!(
            "SELECT '{kind}' AS kind, '{from}' AS from_label, start_node AS from_id, '{to}' AS to_label, end_node AS to_id, {} AS \
             properties FROM ({}) GROUP BY start_node, end_node",
            document(parts),
            union(parts, &["start_node", "end_node"])
        )
    });
    let all = kinds.collect::<Vec<_>>().join(" UNION ALL ");
    format!("SELECT kind, from_label, from_id, to_label, to_id, properties, md5(properties) AS hash FROM ({all})")
}

/// A query made of checked parts.
fn query(
    planner: &mut Planner<'_>,
    pipeline: &Pipeline,
    name: TableName,
    sql: &str,
    inputs: Vec<TableName>,
) -> Option<CompiledGold> {
    let sql = quote_hidden_names(sql);
    let planned = planner.state.create_logical_plan(&sql).now_or_never();
    let plan = match planned {
        Some(Ok(plan)) => plan,
        failed => {
            let why = failed.and_then(Result::err).map(|e| e.strip_backtrace()).unwrap_or_default();
            let span = pipeline.graph.first().map(|g| g.name.span).unwrap_or_default();
            planner.error("graph", span, format!("the graph cannot be planned: {why}"), None);
            return None;
        }
    };
    let fields = plan.schema().fields().iter().map(|f| Field::new(f.name(), DataType::Utf8, true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let fingerprint = fingerprint(["graph.v1", sql.as_str()]);
    Some(CompiledGold { name, inputs, sql, schema, plan, fingerprint })
}
