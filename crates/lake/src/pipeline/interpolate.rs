//! `${VAR}` and `${VAR:-default}` in scalar values. Keys are never touched; `$${` stands for `${`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::origin::Origin;
use super::yaml::{Kind, Node, Scalar};
use crate::diagnostic::{Diagnostic, Source, Span, nearest};

/// Where the value of a variable comes from; `None` when it is not set.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A part of a text that may hold variables; ranges are bytes of that text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'t> {
    /// Text that stands for itself.
    Text(Range<usize>),
    /// `$${`, which stands for `${`.
    Escape(Range<usize>),
    /// `${name}` or `${name:-default}`.
    Variable { range: Range<usize>, name: &'t str, default: Option<&'t str> },
    /// `${` that is not closed or does not hold a name.
    Broken { range: Range<usize>, why: &'static str },
}

/// Cuts `text` into its parts, in order and without gaps.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find("${")).map(|at| at + from) {
        let escaped = start > from && text.as_bytes().get(start - 1) == Some(&b'$');
        let text_end = if escaped { start - 1 } else { start };
        if text_end > from {
            parts.push(Part::Text(from..text_end));
        }
        from = if escaped {
            parts.push(Part::Escape(text_end..start + 2));
            start + 2
        } else {
            let part = variable(text, start);
            let end = part_range(&part).end;
            parts.push(part);
            end
        };
    }
    if from < text.len() {
        parts.push(Part::Text(from..text.len()));
    }
    parts
}

fn variable(text: &str, start: usize) -> Part<'_> {
    let inner = text.get(start + 2..).unwrap_or_default();
    let Some(length) = inner.find('}') else {
        return Part::Broken { range: start..text.len(), why: "`${` is not closed with `}`" };
    };
    let range = start..start + 2 + length + 1;
    let inner = inner.get(..length).unwrap_or_default();
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Part::Variable { range, name, default }
    } else {
        Part::Broken { range, why: "`${...}` does not hold the name of a variable" }
    }
}

fn part_range<'p>(part: &'p Part<'_>) -> &'p Range<usize> {
    match part {
        Part::Text(range) | Part::Escape(range) | Part::Variable { range, .. } | Part::Broken { range, .. } => range,
    }
}

/// Fills in the variables of every value under `node`. A value with a variable that is not set becomes [`Kind::Invalid`], so that
/// nothing is said about it a second time.
pub(super) fn interpolate(node: &mut Node, source: &Arc<Source>, lookup: &Lookup<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let mut filler = Filler { source, lookup, missing: Vec::new(), defined: BTreeSet::new(), diagnostics };
    filler.visit(node);
    filler.report_missing();
}

struct Filler<'a> {
    source: &'a Arc<Source>,
    lookup: &'a Lookup<'a>,
    missing: Vec<(String, Span)>,
    defined: BTreeSet<String>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Filler<'_> {
    fn visit(&mut self, node: &mut Node) {
        match &mut node.kind {
            Kind::Scalar(scalar) => {
                if scalar.text.contains("${") && !self.fill(scalar, node.span) {
                    node.kind = Kind::Invalid;
                }
            }
            Kind::Sequence(items) => items.iter_mut().for_each(|item| self.visit(item)),
            Kind::Mapping(mapping) => mapping.entries.iter_mut().for_each(|entry| self.visit(&mut entry.value)),
            Kind::Invalid => {}
        }
    }

    /// Whether the whole value could be filled in.
    fn fill(&mut self, scalar: &mut Scalar, span: Span) -> bool {
        let mut filled = String::with_capacity(scalar.text.len());
        let mut whole = true;
        for part in parts(&scalar.text) {
            match part {
                Part::Text(range) => filled.push_str(scalar.text.get(range).unwrap_or_default()),
                Part::Escape(_) => filled.push_str("${"),
                Part::Variable { range, name, default } => match self.value(name, default) {
                    Some(value) => filled.push_str(&value),
                    None => {
                        whole = false;
                        let at = Origin::new(self.source, span, &scalar.text).span(range);
                        self.missing.push((name.to_owned(), at));
                    }
                },
                Part::Broken { range, why } => {
                    whole = false;
                    let at = Origin::new(self.source, span, &scalar.text).span(range);
                    let help = "write `${NAME}` or `${NAME:-default}`; `$${` stands for `${` itself";
                    self.diagnostics.push(Diagnostic::error("bad-variable", self.source, at, why).with_help(help));
                }
            }
        }
        scalar.text = filled;
        whole
    }

    fn value(&mut self, name: &str, default: Option<&str>) -> Option<String> {
        let set = (self.lookup)(name);
        if set.is_some() {
            self.defined.insert(name.to_owned());
        }
        match default {
            Some(default) => Some(set.filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned())),
            None => set,
        }
    }

    fn report_missing(self) {
        for (name, span) in &self.missing {
            let set_it = format!("set it in the environment or in `.env`, or give a default: `${{{name}:-value}}`");
            let help = match nearest(name, self.defined.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`? Otherwise {set_it}"),
                None => set_it,
            };
            let message = format!("the variable `{name}` is not set");
            self.diagnostics.push(Diagnostic::error("undefined-variable", self.source, *span, message).with_help(help));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::yaml;

    fn filled(text: &str) -> (Option<Node>, Vec<Diagnostic>) {
        let source = Arc::new(Source { path: "p.yaml".to_owned(), text: text.to_owned() });
        let mut diagnostics = Vec::new();
        let mut node = yaml::parse(&source, &mut diagnostics);
        let lookup = |name: &str| match name {
            "HOST" => Some("lake.example".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        if let Some(node) = &mut node {
            interpolate(node, &source, &lookup, &mut diagnostics);
        }
        (node, diagnostics)
    }

    fn value(text: &str) -> String {
        let (node, diagnostics) = filled(text);
        assert_eq!(diagnostics, []);
        match node.unwrap().kind {
            Kind::Mapping(mapping) => match &mapping.entries[0].value.kind {
                Kind::Scalar(scalar) => scalar.text.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_set_variable_is_filled_in() {
        assert_eq!(value("a: http://${HOST}/x"), "http://lake.example/x");
        assert_eq!(value("a: '${HOST}${HOST}'"), "lake.examplelake.example");
    }

    #[test]
    fn a_default_stands_in_for_a_variable_that_is_unset_or_empty() {
        assert_eq!(value("a: ${NONE:-x y}"), "x y");
        assert_eq!(value("a: '${NONE:-}'"), "");
        assert_eq!(value("a: '${EMPTY:-x}'"), "x");
        assert_eq!(value("a: '${EMPTY}'"), "");
    }

    #[test]
    fn two_dollar_signs_keep_the_brace() {
        assert_eq!(value("a: $${HOST} costs $5"), "${HOST} costs $5");
    }

    #[test]
    fn keys_are_never_filled_in() {
        let (node, diagnostics) = filled("${HOST}: 1");
        assert_eq!(diagnostics, []);
        let Kind::Mapping(mapping) = node.unwrap().kind else { panic!() };
        assert_eq!(mapping.entries[0].key.value, "${HOST}");
    }

    #[test]
    fn an_unset_variable_is_named_and_pointed_at() {
        let text = "a: größe-${HOST}\nb: |\n  one\n  two ${HOTS} three\n";
        let (_, diagnostics) = filled(text);
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(diagnostics[0].message, "the variable `HOTS` is not set");
        assert_eq!(&text[diagnostics[0].span.range()], "${HOTS}");
        assert!(diagnostics[0].help.as_deref().unwrap().starts_with("did you mean `HOST`?"));
    }

    #[test]
    fn a_brace_that_is_not_closed_is_an_error() {
        for text in ["a: x${HOST", "a: '${}'", "a: ${1X}", "a: ${A B}"] {
            let (node, diagnostics) = filled(text);
            assert_eq!(diagnostics.len(), 1, "{text}");
            let Kind::Mapping(mapping) = node.unwrap().kind else { panic!() };
            assert!(matches!(mapping.entries[0].value.kind, Kind::Invalid));
        }
    }
}
