//! An entry under `graph:`.

use super::Reader;
use crate::diagnostic::Spanned;
use crate::pipeline::key;
use crate::pipeline::model::{EdgeEnd, EdgeMapping, GraphSource, Layer, NodeMapping, TableName};
use crate::pipeline::yaml::{Kind, Mapping, Node};

/// The longest label or type.
const MAX_LABEL: usize = 64;

impl Reader {
    pub(super) fn graph_sources(&mut self, root: &Mapping) -> Vec<GraphSource> {
        self.tables(root, Layer::Graph, Self::graph_source)
    }

    fn graph_source(&mut self, name: Spanned<TableName>, node: &Node, keys: &Mapping) -> Option<GraphSource> {
        self.refuse_unknown_keys(keys, key::GRAPH, "an entry of `graph`");
        let from = self
            .required_text(keys, "from", &name, "silver.posts")
            .and_then(|text| self.source_name(text, "an entry of `graph`"));
        let filter = self.optional_text(keys, "where");
        let nodes = match keys.get("nodes") {
            Some(entry) => self.nodes(&entry.value),
            None => {
                let help = "add `nodes: { Person: author }`: the label, and the column that names a node".to_owned();
                self.report("missing-key", name.span, format!("`{}` has no `nodes`", name.value), Some(help));
                Vec::new()
            }
        };
        let edges = keys.get("edges").map(|e| self.edges(&e.value)).unwrap_or_default();
        let _ = node;
        let name = Spanned::new(name.value.name, name.span);
        Some(GraphSource { name, from: from?, filter, nodes, edges })
    }

    fn nodes(&mut self, node: &Node) -> Vec<NodeMapping> {
        let holds = "labels and what names their nodes, such as `Person: author`";
        let Some(mapping) = self.mapping(node, "`nodes`", holds) else { return Vec::new() };
        let mut nodes = Vec::with_capacity(mapping.entries.len());
        for entry in &mapping.entries {
            self.check_label(&entry.key, "label");
            let (id, properties) = match &entry.value.kind {
                Kind::Mapping(keys) => {
                    self.refuse_unknown_keys(keys, key::NODE, "a node");
                    if keys.get("id").is_none() {
                        let message = format!("the node `{}` has no `id`", entry.key.value);
                        self.report("missing-key", entry.key.span, message, Some("add `id: author`".to_owned()));
                    }
                    (self.optional_text(keys, "id"), self.properties(keys, "properties"))
                }
                _ => (self.text(&entry.value, &format!("what names `{}`", entry.key.value)), Vec::new()),
            };
            nodes.extend(id.map(|id| NodeMapping { label: entry.key.clone(), id, properties }));
        }
        nodes
    }

    fn edges(&mut self, node: &Node) -> Vec<EdgeMapping> {
        let Kind::Sequence(items) = &node.kind else {
            let help = "write `edges: [{ type: WROTE, from: Person, to: Post }]`".to_owned();
            self.report("wrong-type", node.span, "`edges` is not a list", Some(help));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.edge(item)).collect()
    }

    fn edge(&mut self, node: &Node) -> Option<EdgeMapping> {
        let keys = self.mapping(node, "an edge", "`type`, `from` and `to`")?;
        self.refuse_unknown_keys(keys, key::EDGE, "an edge");
        for word in ["type", "from", "to"].into_iter().filter(|word| keys.get(word).is_none()) {
            let help = "write `{ type: WROTE, from: Person, to: Post }`".to_owned();
            self.report("missing-key", node.span, format!("an edge has no `{word}`"), Some(help));
        }
        let kind = self.optional_text(keys, "type");
        if let Some(kind) = &kind {
            self.check_label(kind, "type");
        }
        let from = keys.get("from").and_then(|e| self.edge_end(&e.value, "from"));
        let to = keys.get("to").and_then(|e| self.edge_end(&e.value, "to"));
        let properties = self.properties(keys, "properties");
        Some(EdgeMapping { kind: kind?, from: from?, to: to?, properties })
    }

    /// A label, or a label with what names the node.
    fn edge_end(&mut self, node: &Node, word: &str) -> Option<EdgeEnd> {
        let Kind::Mapping(mapping) = &node.kind else {
            let label = self.text(node, &format!("`{word}`"))?;
            return Some(EdgeEnd { label, id: None });
        };
        let [entry] = mapping.entries.as_slice() else {
            let help = "write a label, or one label with what names the node, such as `{ Person: mentioned }`".to_owned();
            self.report("wrong-type", node.span, format!("`{word}` of an edge is not one node"), Some(help));
            return None;
        };
        self.check_label(&entry.key, "label");
        let id = self.text(&entry.value, &format!("what names `{}`", entry.key.value))?;
        Some(EdgeEnd { label: entry.key.clone(), id: Some(id) })
    }

    fn check_label(&mut self, label: &Spanned<String>, what: &str) {
        let text = &label.value;
        let fits = text.len() <= MAX_LABEL
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !fits {
            let help = format!("use letters, digits and `_`, starting with a letter, at most {MAX_LABEL}");
            self.report("bad-name", label.span, format!("this cannot be the {what} of a graph"), Some(help));
        }
    }
}
