//! What reads what: the order of work, cycles, and tables that do not exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::Query;

use super::fact::{self, Call, Name};
use super::model::{GoldTable, Layer, Pipeline, SilverTable, TableName};
use super::name::{did_you_mean, one_of};
use super::nodes::graph_tables;
use super::sql::SqlText;
use crate::diagnostic::{Diagnostic, Source, Span, Spanned};

/// The tables that a pipeline builds, what each reads, and in which order they are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableGraph {
    order: Vec<TableName>,
    inputs: BTreeMap<TableName, Vec<TableName>>,
}

impl TableGraph {
    /// Works the graph out from `from:` and from the SQL of gold tables, without looking at columns. `existing` are tables that
    /// are in the lake already; gold may read them.
    ///
    /// # Errors
    /// Every table that is read and does not exist, every cycle, and every gold query that cannot be parsed.
    pub fn new(pipeline: &Pipeline, existing: &BTreeSet<TableName>) -> Result<Self, Vec<Diagnostic>> {
        let resolved = resolve(pipeline, existing);
        if resolved.diagnostics.is_empty() { Ok(resolved.graph) } else { Err(resolved.diagnostics) }
    }

    /// Every table that the pipeline builds, each after all that it reads: bronze, silver, gold, and within a layer as in the file.
    pub fn order(&self) -> &[TableName] {
        &self.order
    }

    /// What `table` reads, each once, in the order of its first mention. Empty for bronze tables and for unknown ones.
    pub fn inputs(&self, table: &TableName) -> &[TableName] {
        self.inputs.get(table).map_or(&[], Vec::as_slice)
    }

    /// The tables that read `table`, in the order of work.
    pub fn readers<'a>(&'a self, table: &'a TableName) -> impl Iterator<Item = &'a TableName> {
        self.order.iter().filter(move |t| self.inputs(t).contains(table))
    }
}

/// A gold table's query and what it reads.
pub(super) struct GoldQuery {
    pub(super) query: Query,
    pub(super) table_calls: Vec<Call>,
}

/// The graph, and what was found wrong on the way to it.
pub(super) struct Resolved {
    pub(super) graph: TableGraph,
    /// The gold tables whose inputs all exist.
    pub(super) queries: BTreeMap<TableName, GoldQuery>,
    /// Tables about whose inputs something has been reported.
    pub(super) broken: BTreeSet<TableName>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// Builds the graph as far as the pipeline allows.
pub(super) fn resolve(pipeline: &Pipeline, existing: &BTreeSet<TableName>) -> Resolved {
    let mut resolver = Resolver::new(pipeline, existing);
    for table in &pipeline.silver {
        resolver.silver(table);
    }
    for table in &pipeline.gold {
        resolver.gold(table);
    }
    for table in &pipeline.vectors {
        resolver.follower(&table.name.value, &table.from);
    }
    let graph = resolver.graph(pipeline);
    let gold = resolver.order_gold(pipeline);
    let vectors = pipeline.vectors.iter().map(|t| t.name.value.clone());
    let bronze = pipeline.bronze.iter().map(|t| t.name.value.clone());
    let silver = pipeline.silver.iter().map(|t| t.name.value.clone());
    let order = bronze.chain(silver).chain(gold).chain(vectors).chain(graph).collect();
    Resolved {
        graph: TableGraph { order, inputs: resolver.inputs },
        queries: resolver.queries,
        broken: resolver.broken,
        diagnostics: resolver.diagnostics,
    }
}

struct Resolver<'a> {
    source: &'a Arc<Source>,
    own: BTreeSet<TableName>,
    existing: &'a BTreeSet<TableName>,
    inputs: BTreeMap<TableName, Vec<TableName>>,
    /// Where a gold table names an input for the first time.
    mentions: BTreeMap<(TableName, TableName), Span>,
    queries: BTreeMap<TableName, GoldQuery>,
    broken: BTreeSet<TableName>,
    diagnostics: Vec<Diagnostic>,
}

impl<'a> Resolver<'a> {
    fn new(pipeline: &'a Pipeline, existing: &'a BTreeSet<TableName>) -> Self {
        let bronze = pipeline.bronze.iter().map(|t| &t.name.value);
        let silver = pipeline.silver.iter().map(|t| &t.name.value);
        let gold = pipeline.gold.iter().map(|t| &t.name.value);
        Self {
            source: &pipeline.source,
            own: bronze.chain(silver).chain(gold).cloned().collect(),
            existing,
            inputs: BTreeMap::new(),
            mentions: BTreeMap::new(),
            queries: BTreeMap::new(),
            broken: BTreeSet::new(),
            diagnostics: Vec::new(),
        }
    }

    fn silver(&mut self, table: &SilverTable) {
        let from = &table.from.value;
        self.inputs.insert(table.name.value.clone(), vec![from.clone()]);
        if self.own.contains(from) {
            return;
        }
        let known: Vec<String> = self.own.iter().filter(|t| t.layer == Layer::Bronze).map(TableName::to_string).collect();
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        let help = did_you_mean(&from.to_string(), names.iter().copied()).unwrap_or_else(|| match names.as_slice() {
            [] => format!("add `{}` under `bronze:`", from.name),
            names => format!("the pipeline has {}", one_of(names)),
        });
        let message = format!("there is no table `{from}`");
        self.broken.insert(table.name.value.clone());
        self.diagnostics.push(Diagnostic::error("unknown-table", self.source, table.from.span, message).with_help(help));
    }

    /// A table that follows another one.
    fn follower(&mut self, name: &TableName, from: &Spanned<TableName>) {
        self.inputs.insert(name.clone(), vec![from.value.clone()]);
        if self.own.contains(&from.value) || self.existing.contains(&from.value) {
            return;
        }
        let help = self.near_tables(name, &from.value.to_string());
        let message = format!("there is no table `{}`", from.value);
        self.broken.insert(name.clone());
        self.diagnostics.push(Diagnostic::error("unknown-table", self.source, from.span, message).with_help(help));
    }

    /// The tables of the pipeline's graph.
    fn graph(&mut self, pipeline: &Pipeline) -> Vec<TableName> {
        if pipeline.graph.is_empty() {
            return vec![];
        }
        let (nodes, edges) = graph_tables(&pipeline.name.value);
        let (mut of_nodes, mut of_edges) = (vec![], vec![]);
        for source in &pipeline.graph {
            self.follower(&nodes, &source.from);
            let add = |inputs: &mut Vec<TableName>| {
                if !inputs.contains(&source.from.value) {
                    inputs.push(source.from.value.clone());
                }
            };
            add(&mut of_nodes);
            if !source.edges.is_empty() {
                add(&mut of_edges);
            }
        }
        self.inputs.insert(nodes.clone(), of_nodes);
        if of_edges.is_empty() {
            return vec![nodes];
        }
        self.inputs.insert(edges.clone(), of_edges);
        vec![nodes, edges]
    }

    fn gold(&mut self, table: &GoldTable) {
        let name = &table.name.value;
        let sql = SqlText::new(self.source, &table.sql);
        let query = match sql.parse_query() {
            Ok(query) => query,
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                self.broken.insert(name.clone());
                return;
            }
        };
        let (tables, table_calls) = fact::tables(&query);
        let mut inputs: Vec<TableName> = Vec::new();
        for mention in &tables {
            match self.input(name, mention, &sql) {
                Ok(input) => {
                    self.mentions.entry((name.clone(), input.clone())).or_insert_with(|| sql.span(mention.span()));
                    if !inputs.contains(&input) {
                        inputs.push(input);
                    }
                }
                Err(diagnostic) => {
                    self.broken.insert(name.clone());
                    self.diagnostics.push(diagnostic);
                }
            }
        }
        self.inputs.insert(name.clone(), inputs);
        if !self.broken.contains(name) {
            self.queries.insert(name.clone(), GoldQuery { query, table_calls });
        }
    }

    /// The table that `mention` means.
    fn input(&self, reader: &TableName, mention: &Name, sql: &SqlText<'_>) -> Result<TableName, Diagnostic> {
        let words = mention.words();
        let written = words.join(".");
        let found = match words.as_slice() {
            [layer, name] => {
                let layer = Layer::ALL.into_iter().find(|l| l.as_str() == *layer);
                layer.map(|l| TableName::new(l, *name)).filter(|t| self.own.contains(t) || self.existing.contains(t))
            }
            _ => None,
        };
        found.ok_or_else(|| {
            let help = self.near_tables(reader, &written);
            sql.error("unknown-table", sql.span(mention.span()), format!("there is no table `{written}`")).with_help(help)
        })
    }

    fn near_tables(&self, reader: &TableName, written: &str) -> String {
        let last = written.rsplit('.').next().unwrap_or_default().to_lowercase();
        let others = || self.own.iter().chain(self.existing).filter(|t| *t != reader);
        let namesakes: Vec<String> = others().filter(|t| t.name == last).map(TableName::to_string).collect();
        if !namesakes.is_empty() {
            let namesakes: Vec<&str> = namesakes.iter().map(String::as_str).collect();
            return format!("did you mean {}?", one_of(&namesakes));
        }
        let all: Vec<String> = others().map(TableName::to_string).collect();
        did_you_mean(written, all.iter().map(String::as_str)).unwrap_or_else(|| {
            "a gold table reads tables of this pipeline, or tables that are in the lake already, written as `silver.name`"
                .to_owned()
        })
    }

    /// Gold tables, each after the gold tables it reads. Tables in a cycle come last.
    fn order_gold(&mut self, pipeline: &Pipeline) -> Vec<TableName> {
        let mut waiting: Vec<TableName> = pipeline.gold.iter().map(|t| t.name.value.clone()).collect();
        let mut order: Vec<TableName> = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let ready = waiting.iter().position(|t| self.first_of(t, &waiting).is_none());
            let next = match ready {
                Some(at) => waiting.remove(at),
                None => {
                    let cycle = self.find_cycle(&waiting);
                    self.report_cycle(&cycle);
                    // Without its first table the rest of the cycle has an order, and other cycles can be found.
                    let at = cycle.first().and_then(|c| waiting.iter().position(|t| t == c)).unwrap_or_default();
                    waiting.remove(at)
                }
            };
            order.push(next);
        }
        order
    }

    /// The first input of `table` that is among `waiting`.
    fn first_of(&self, table: &TableName, waiting: &[TableName]) -> Option<&TableName> {
        self.inputs.get(table).and_then(|inputs| inputs.iter().find(|i| waiting.contains(i)))
    }

    /// A cycle among tables each of which waits for another.
    fn find_cycle(&self, waiting: &[TableName]) -> Vec<TableName> {
        let mut path: Vec<TableName> = waiting.first().cloned().into_iter().collect();
        while let Some(next) = path.last().and_then(|last| self.first_of(last, waiting)) {
            if let Some(at) = path.iter().position(|t| t == next) {
                return path.split_off(at);
            }
            path.push(next.clone());
        }
        path
    }

    fn report_cycle(&mut self, cycle: &[TableName]) {
        let Some(first) = cycle.first() else { return };
        let second = cycle.get(1).unwrap_or(first);
        let span = self.mentions.get(&(first.clone(), second.clone())).copied().unwrap_or_default();
        let steps: Vec<String> = cycle.iter().chain([first]).map(|t| format!("`{t}`")).collect();
        let message = match steps.len() {
            2 => format!("`{first}` reads itself"),
            _ => format!("these tables read each other in a circle: {}", steps.join(" reads ")),
        };
        let help = "take out one of the reads, or move what both need into a table of its own";
        self.broken.extend(cycle.iter().cloned());
        self.diagnostics.push(Diagnostic::error("cycle", self.source, span, message).with_help(help));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(rest: &str) -> Pipeline {
        let text = format!(
            "name: p\nbronze:\n  posts: {{ method: m }}\n  users: {{ method: m }}\nsilver:\n  posts: {{ from: bronze.posts }}\n{rest}"
        );
        Pipeline::parse("p.yaml", text, &|_| None).unwrap()
    }

    fn errors(rest: &str) -> Vec<(String, String, String)> {
        let pipeline = pipeline(rest);
        let found = TableGraph::new(&pipeline, &BTreeSet::new()).unwrap_err();
        let text = &pipeline.source.text;
        found.into_iter().map(|d| (d.message, text[d.span.range()].to_owned(), d.help.unwrap_or_default())).collect()
    }

    #[test]
    fn gold_tables_are_built_after_the_gold_tables_they_read() {
        let pipeline = pipeline(
            "gold:\n  c: { sql: SELECT * FROM gold.b }\n  b: { sql: 'SELECT * FROM gold.a, silver.posts' }\n  a: { sql: SELECT * FROM silver.posts }\n",
        );
        let graph = TableGraph::new(&pipeline, &BTreeSet::new()).unwrap();
        let order: Vec<String> = graph.order().iter().map(TableName::to_string).collect();
        assert_eq!(order, ["bronze.posts", "bronze.users", "silver.posts", "gold.a", "gold.b", "gold.c"]);
        let b = TableName::new(Layer::Gold, "b");
        assert_eq!(graph.inputs(&b), [TableName::new(Layer::Gold, "a"), TableName::new(Layer::Silver, "posts")]);
        assert_eq!(graph.readers(&b).map(TableName::to_string).collect::<Vec<_>>(), ["gold.c"]);
    }

    #[test]
    fn a_cycle_is_shown_as_a_whole() {
        let found = errors(
            "gold:\n  a: { sql: SELECT * FROM gold.b }\n  b: { sql: SELECT * FROM gold.c }\n  c: { sql: SELECT * FROM gold.b }\n  d: { sql: SELECT * FROM gold.d }\n",
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].0, "these tables read each other in a circle: `gold.b` reads `gold.c` reads `gold.b`");
        assert_eq!(found[0].1, "gold.c");
        assert_eq!(found[1].0, "`gold.d` reads itself");
    }

    #[test]
    fn an_unknown_table_comes_with_the_nearest_one() {
        let found =
            errors("  x: { from: bronze.psots }\ngold:\n  a: { sql: 'SELECT * FROM silver.postss, posts, silver.zebra' }\n");
        assert_eq!(found[0].1, "bronze.psots");
        assert_eq!(found[0].2, "did you mean `bronze.posts`?");
        assert_eq!((found[1].1.as_str(), found[1].2.as_str()), ("silver.postss", "did you mean `silver.posts`?"));
        assert_eq!((found[2].1.as_str(), found[2].2.as_str()), ("posts", "did you mean `bronze.posts` or `silver.posts`?"));
        assert_eq!(found[3].1, "silver.zebra");
    }

    #[test]
    fn gold_may_read_tables_that_are_in_the_lake_already() {
        let pipeline = pipeline("gold:\n  a: { sql: SELECT * FROM silver.others }\n");
        let existing = BTreeSet::from([TableName::new(Layer::Silver, "others")]);
        assert!(TableGraph::new(&pipeline, &existing).is_ok());
        assert!(TableGraph::new(&pipeline, &BTreeSet::new()).is_err());
    }
}
