//! Node tree to [`Pipeline`]: every finding about the shape of the file, in one go.

mod bronze;
mod gold;
mod graph;
mod silver;
mod value;
mod vectors;

use std::sync::Arc;

use super::interpolate::{Lookup, interpolate};
use super::model::{Layer, Pipeline, TableName, WorkspaceSpec};
use super::name::{did_you_mean, label_refusal, one_of, table_refusal, table_repair};
use super::yaml::{self, Kind, Mapping, Node, Scalar};
use super::{key, name};
use crate::WorkspaceId;
use crate::diagnostic::{Diagnostic, Source, Span, Spanned};

impl Pipeline {
    /// Reads a pipeline file. `path` is named in findings and not opened; `lookup` gives the values of `${VAR}`.
    ///
    /// # Errors
    /// All findings, in the order of the file. Whether tables, columns and SQL fit together is found out by
    /// [`compile`](super::compile).
    pub fn parse(path: impl Into<String>, text: impl Into<String>, lookup: &Lookup<'_>) -> Result<Self, Vec<Diagnostic>> {
        let source = Arc::new(Source { path: path.into(), text: text.into() });
        let mut reader = Reader { source: source.clone(), diagnostics: Vec::new() };
        let tree = yaml::parse(&source, &mut reader.diagnostics);
        let unreadable = tree.is_none() && !reader.diagnostics.is_empty();
        let pipeline = tree.filter(|_| !unreadable).and_then(|mut tree| {
            interpolate(&mut tree, &source, lookup, &mut reader.diagnostics);
            reader.pipeline(&tree)
        });
        if pipeline.is_none() && reader.diagnostics.is_empty() {
            reader.report_empty();
        }
        let mut diagnostics = reader.diagnostics;
        match pipeline {
            Some(pipeline) if diagnostics.is_empty() => Ok(pipeline),
            _ => {
                diagnostics.sort_by_key(|d| (d.span.start, d.span.end));
                Err(diagnostics)
            }
        }
    }
}

/// Collects findings while it reads.
struct Reader {
    source: Arc<Source>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader {
    fn report(&mut self, code: &'static str, span: Span, message: impl Into<String>, help: Option<String>) {
        let diagnostic = Diagnostic::error(code, &self.source, span, message);
        self.diagnostics.push(Diagnostic { help, ..diagnostic });
    }

    fn report_empty(&mut self) {
        let help = "a pipeline starts with `name:` and a table under `bronze:`".to_owned();
        self.report("missing-key", Span::default(), "the file holds no pipeline", Some(help));
    }

    fn pipeline(&mut self, tree: &Node) -> Option<Pipeline> {
        if matches!(&tree.kind, Kind::Scalar(Scalar { absent: true, .. })) {
            return None;
        }
        let root = self.mapping(tree, "the file", "`name: ...`, then `bronze:`, `silver:` and `gold:`")?;
        self.refuse_unknown_keys(root, key::PIPELINE, "a pipeline");
        let name = self.pipeline_name(root, tree.span);
        let ontology = root.get("ontology").and_then(|e| self.text(&e.value, "`ontology`"));
        let workspace = root.get("workspace").map_or(Some(WorkspaceSpec::Inherit), |e| self.workspace(&e.value));
        let bronze = self.tables(root, Layer::Bronze, Self::bronze);
        let silver = self.tables(root, Layer::Silver, Self::silver);
        let gold = self.tables(root, Layer::Gold, Self::gold);
        let vectors = self.tables(root, Layer::Vectors, Self::vectors);
        let graph = self.graph_sources(root);
        if !Layer::ALL.iter().any(|l| root.get(l.as_str()).is_some()) {
            let help = "add a table under `bronze:`, such as one of the method `file_ingest`".to_owned();
            self.report("missing-key", start_of(tree.span), "the pipeline has no tables", Some(help));
        }
        Some(Pipeline {
            name: name?,
            ontology,
            workspace: workspace?,
            bronze,
            silver,
            gold,
            vectors,
            graph,
            source: self.source.clone(),
        })
    }

    fn pipeline_name(&mut self, root: &Mapping, whole: Span) -> Option<Spanned<String>> {
        let Some(entry) = root.get("name") else {
            self.report("missing-key", start_of(whole), "the pipeline has no `name`", Some("add `name: my_pipeline`".to_owned()));
            return None;
        };
        let name = self.text(&entry.value, "`name`")?;
        if let Some(why) = label_refusal(&name.value) {
            let help = "use letters, digits, `_` and `-`, starting with a letter".to_owned();
            self.report("bad-name", name.span, format!("the pipeline's name {why}"), Some(help));
        }
        Some(name)
    }

    fn workspace(&mut self, node: &Node) -> Option<WorkspaceSpec> {
        if let Kind::Mapping(mapping) = &node.kind {
            self.refuse_unknown_keys(mapping, key::WORKSPACE, "`workspace`");
            let Some(column) = mapping.get("column") else {
                let help = "write `{ column: workspace_id }`, or one workspace's name".to_owned();
                self.report("missing-key", node.span, "`workspace` names no column", Some(help));
                return None;
            };
            return self.text(&column.value, "`column`").map(WorkspaceSpec::Column);
        }
        let name = self.text(node, "`workspace`")?;
        match (WorkspaceId::refusal(&name.value), WorkspaceId::new(&name.value)) {
            (None, Ok(id)) => Some(WorkspaceSpec::Fixed(Spanned::new(id, name.span))),
            (why, _) => {
                let help = "use 1 to 200 characters without control characters, such as `acme`".to_owned();
                let message = format!("the workspace's name {}", why.unwrap_or("is refused"));
                self.report("bad-name", name.span, message, Some(help));
                None
            }
        }
    }

    /// The tables of a layer, read one by one with `read`.
    fn tables<T>(
        &mut self,
        root: &Mapping,
        layer: Layer,
        read: fn(&mut Self, Spanned<TableName>, &Node, &Mapping) -> Option<T>,
    ) -> Vec<T> {
        let Some(section) = root.get(layer.as_str()) else { return Vec::new() };
        if matches!(&section.value.kind, Kind::Scalar(Scalar { absent: true, .. })) {
            let help = format!("add a table, or leave `{layer}:` out");
            self.report("missing-key", section.key.span, format!("`{layer}` has no tables"), Some(help));
            return Vec::new();
        }
        let Some(tables) = self.mapping(&section.value, &format!("`{layer}`"), "table names, each with its keys") else {
            return Vec::new();
        };
        let mut found = Vec::with_capacity(tables.entries.len());
        for entry in &tables.entries {
            let name = Spanned::new(TableName::new(layer, &entry.key.value), entry.key.span);
            self.check_table_name(&entry.key, layer);
            let Some(keys) = self.mapping(&entry.value, &format!("`{}`", name.value), "the table's keys") else { continue };
            found.extend(read(self, name, &entry.value, keys));
        }
        found
    }

    fn check_table_name(&mut self, key: &Spanned<String>, layer: Layer) {
        let Some(why) = table_refusal(&key.value) else { return };
        let bare = key.value.strip_prefix(&format!("{layer}.")).unwrap_or(&key.value);
        let help = match table_repair(bare) {
            Some(name) if name != key.value => format!("did you mean `{name}`?"),
            _ if why.starts_with("ends") => "call it something else".to_owned(),
            _ => "use lower case letters, digits and `_`, starting with a letter".to_owned(),
        };
        self.report("bad-name", key.span, format!("the table's name {why}"), Some(help));
    }

    /// `node` as a mapping; `what` it is and what it should hold are named when it is none.
    fn mapping<'n>(&mut self, node: &'n Node, what: &str, holds: &str) -> Option<&'n Mapping> {
        match &node.kind {
            Kind::Mapping(mapping) => Some(mapping),
            Kind::Invalid => None,
            other => {
                let message = format!("{what} is {}, not a mapping", describe(other));
                self.report("wrong-type", node.span, message, Some(format!("it holds {holds}")));
                None
            }
        }
    }

    fn refuse_unknown_keys(&mut self, mapping: &Mapping, known: &[&str], owner: &str) {
        for entry in mapping.entries.iter().filter(|e| !known.contains(&e.key.value.as_str())) {
            let help = did_you_mean(&entry.key.value, known.iter().copied())
                .unwrap_or_else(|| format!("{owner} can have {}", one_of(known)));
            self.report("unknown-key", entry.key.span, format!("{owner} has no key `{}`", entry.key.value), Some(help));
        }
    }

    /// `node` as text that is not empty.
    fn text(&mut self, node: &Node, what: &str) -> Option<Spanned<String>> {
        match &node.kind {
            Kind::Scalar(scalar) if !scalar.text.trim().is_empty() => Some(Spanned::new(scalar.text.clone(), node.span)),
            Kind::Scalar(_) => {
                self.report(
                    "wrong-type",
                    node.span,
                    format!("{what} is empty"),
                    Some("write a value after the colon".to_owned()),
                );
                None
            }
            Kind::Invalid => None,
            other => {
                let message = format!("{what} is {}, not a text", describe(other));
                self.report("wrong-type", node.span, message, Some("put a value that has `{` or `[` in quotes".to_owned()));
                None
            }
        }
    }

    /// The text of an optional key.
    fn optional_text(&mut self, mapping: &Mapping, key: &str) -> Option<Spanned<String>> {
        mapping.get(key).and_then(|e| self.text(&e.value, &format!("`{key}`")))
    }

    /// The truth of an optional key.
    fn optional_flag(&mut self, mapping: &Mapping, key: &str) -> Option<Spanned<bool>> {
        let text = self.optional_text(mapping, key)?;
        match text.value.trim() {
            "true" => Some(Spanned::new(true, text.span)),
            "false" => Some(Spanned::new(false, text.span)),
            _ => {
                self.report(
                    "wrong-type",
                    text.span,
                    format!("`{key}` is neither true nor false"),
                    Some("write `true` or `false`".to_owned()),
                );
                None
            }
        }
    }

    /// The text of a key that the table must have.
    fn required_text(
        &mut self,
        mapping: &Mapping,
        key: &str,
        table: &Spanned<TableName>,
        example: &str,
    ) -> Option<Spanned<String>> {
        if mapping.get(key).is_none() {
            // A slip such as `form:` has been reported as an unknown key near to this one.
            let slip = mapping.entries.iter().any(|e| crate::diagnostic::nearest(&e.key.value, [key]).is_some());
            if !slip {
                let message = format!("`{}` has no `{key}`", table.value);
                self.report("missing-key", table.span, message, Some(format!("add `{key}: {example}`")));
            }
        }
        self.optional_text(mapping, key)
    }

    fn description(&mut self, mapping: &Mapping) -> Option<String> {
        self.optional_text(mapping, "description").map(|d| d.value)
    }

    fn check_column_name(&mut self, column: &Spanned<String>) {
        if let Some(why) = name::column_refusal(&column.value) {
            let help = "use letters, digits and `_`".to_owned();
            self.report("bad-name", column.span, format!("the column's name {why}"), Some(help));
        }
    }
}

/// The first character of `span`: for what is missing from the whole of it.
fn start_of(span: Span) -> Span {
    Span::new(span.start, span.start)
}

fn describe(kind: &Kind) -> &'static str {
    match kind {
        Kind::Scalar(Scalar { absent: true, .. }) => "empty",
        Kind::Scalar(_) => "a single value",
        Kind::Sequence(_) => "a list",
        Kind::Mapping(_) => "a mapping",
        Kind::Invalid => "wrong",
    }
}

#[cfg(test)]
mod tests;
