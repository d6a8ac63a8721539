//! Reading definitions: JSON text to methods and ontologies, or all mistakes with their places.

mod fields;
mod json_text;
mod method;
mod ontology;

use fields::Findings;
use json_text::Node;

use crate::builtin;
use crate::error::{Error, InvalidDefinitions, Result};
use crate::method::Method;
use crate::nearest::advice;
use crate::ontology::{Ontology, Version};

/// What a definitions text says, checked, together with the built-in methods.
///
/// The text is one JSON object: `methods`, a list of methods, and `ontologies`, an object of ontologies by version.
#[derive(Debug, Clone, PartialEq)]
pub struct Definitions {
    methods: Vec<Method>,
    ontologies: Vec<Ontology>,
}

impl Definitions {
    /// The built-in methods and nothing else.
    pub fn builtin_only() -> Self {
        Self { methods: builtin::methods(), ontologies: Vec::new() }
    }

    /// Reads and checks `text`; `path` is how messages name it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) with all mistakes, each with its place.
    pub fn from_text(path: &str, text: &str) -> Result<Self> {
        read(path, text, read_definitions)
    }

    /// All methods, built-in ones included, sorted by id.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// All ontologies, sorted by version.
    pub fn ontologies(&self) -> &[Ontology] {
        &self.ontologies
    }

    /// The ontology of this version (`1` is `1.0`), or the greatest one.
    pub fn ontology(&self, version: Option<&str>) -> Option<&Ontology> {
        let Some(text) = version else { return self.ontologies.last() };
        let wanted = text.parse::<Version>().ok()?;
        self.ontologies.iter().find(|ontology| ontology.version.parse::<Version>().is_ok_and(|version| version == wanted))
    }
}

/// Reads one method.
pub(crate) fn method_from_text(path: &str, text: &str) -> Result<Method> {
    read(path, text, |findings, node| method::read(findings, node).map(|read| read.method))
}

/// Reads `text` by `reader`. The value counts only when there are no findings.
fn read<T>(path: &str, text: &str, reader: impl FnOnce(&mut Findings, &Node) -> Option<T>) -> Result<T> {
    let (node, slips) = json_text::read(text);
    let mut findings = Findings(slips);
    let value = node.and_then(|node| reader(&mut findings, &node));
    match value {
        Some(value) if findings.0.is_empty() => Ok(value),
        _ => {
            findings.0.sort_by_key(|finding| finding.span.start);
            let Findings(findings) = findings;
            Err(Error::invalid_definitions(InvalidDefinitions { path: path.to_owned(), text: text.to_owned(), findings }))
        }
    }
}

fn read_definitions(findings: &mut Findings, node: &Node) -> Option<Definitions> {
    let fields = findings.fields(node, "the catalog", &["methods", "ontologies"])?;
    let ontologies = fields.get("ontologies").map(|node| ontology::read_versions(findings, node)).unwrap_or_default();
    let methods = read_methods(findings, fields.get("methods"), &ontologies);
    Some(Definitions { methods, ontologies })
}

/// The built-in methods and those of the list.
fn read_methods(findings: &mut Findings, node: Option<&Node>, ontologies: &[Ontology]) -> Vec<Method> {
    let mut methods = builtin::methods();
    let items = node.and_then(|node| findings.items(node, "`methods`"));
    for item in items.unwrap_or_default() {
        let Some(read) = method::read(findings, item) else { continue };
        check_entity_types(findings, &read, ontologies);
        let id = &read.method.method_id;
        if builtin::is_builtin(id) {
            let help = Some("give it another `method_id`");
            findings.add_with_help(&read.id_span, format!("`{id}` is a built-in method and cannot be redefined"), help);
        } else if methods.iter().any(|known| known.method_id == *id) {
            findings.add(&read.id_span, format!("method `{id}` is defined twice"));
        } else {
            methods.push(read.method);
        }
    }
    methods.sort_by(|a, b| a.method_id.cmp(&b.method_id));
    methods
}

/// A slip in an entity's name would silently hide the method from those who look for it.
fn check_entity_types(findings: &mut Findings, read: &method::ReadMethod, ontologies: &[Ontology]) {
    let known: Vec<&str> = ontologies.iter().flat_map(|ontology| &ontology.entities).map(|entity| entity.name.as_str()).collect();
    for (name, span) in &read.entity_types {
        if !known.is_empty() && !known.contains(&name.as_str()) {
            let message = format!("no ontology has an entity `{name}`");
            findings.add_with_help(span, message, advice(name, known.iter().copied()));
        }
    }
}

#[cfg(test)]
mod tests;
