//! Typed reading of JSON objects: each mistake becomes a finding, and reading goes on.

use std::ops::Range;

use super::json_text::{Json, Member, Node};
use crate::error::{DefinitionFinding, Error};
use crate::nearest::advice;

/// The findings so far.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<DefinitionFinding>);

/// An object whose field names are known to be right.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    members: &'n [Member],
}

impl<'n> Fields<'n> {
    /// The field's value, where it is given.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.members.iter().find(|member| member.name == name).map(|member| &member.node)
    }
}

impl Findings {
    /// Adds a finding.
    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.0.push(DefinitionFinding { span: span.clone(), message: message.into(), help: None });
    }

    /// Adds a finding with advice.
    pub(super) fn add_with_help(&mut self, span: &Range<usize>, message: impl Into<String>, help: Option<impl Into<String>>) {
        self.0.push(DefinitionFinding { span: span.clone(), message: message.into(), help: help.map(Into::into) });
    }

    /// Adds an error of a smaller reader, such as that of types.
    pub(super) fn add_error(&mut self, span: &Range<usize>, error: &Error) {
        self.add_with_help(span, error.to_string(), error.hint());
    }

    /// The members of an object; `what` names it in the finding when it is something else.
    pub(super) fn members<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Member]> {
        match &node.value {
            Json::Object(members) => Some(members),
            _ => {
                self.add(&node.span, format!("{what} must be an object"));
                None
            }
        }
    }

    /// An object with fields out of `known`; others are reported.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        let members = self.members(node, what)?;
        for member in members.iter().filter(|member| !known.contains(&member.name.as_str())) {
            let help = advice(&member.name, known.iter().copied());
            self.add_with_help(&member.name_span, format!("unknown field `{}` in {what}", member.name), help);
        }
        Some(Fields { members })
    }

    /// The items of a list.
    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.value {
            Json::Array(items) => Some(items),
            _ => {
                self.add(&node.span, format!("{what} must be a list"));
                None
            }
        }
    }

    /// A text that is not blank.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Json::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Json::String(_) => {
                self.add(&node.span, format!("{what} is empty"));
                None
            }
            _ => {
                self.add(&node.span, format!("{what} must be text"));
                None
            }
        }
    }

    /// The text of an optional field.
    pub(super) fn optional_text(&mut self, fields: &Fields<'_>, name: &str, of: &str) -> Option<String> {
        fields.get(name).and_then(|node| self.text(node, &format!("`{name}` of {of}")))
    }

    /// A field that must be there.
    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, at: &Range<usize>, name: &str, of: &str) -> Option<&'n Node> {
        let node = fields.get(name);
        if node.is_none() {
            self.add(at, format!("{of} has no `{name}`"));
        }
        node
    }

    /// A list of different texts, each with its place. Duplicates are reported and left out.
    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<(String, Range<usize>)> {
        let mut texts: Vec<(String, Range<usize>)> = Vec::new();
        for item in self.items(node, what).unwrap_or_default() {
            let Some(text) = self.text(item, &format!("an item of {what}")) else { continue };
            if texts.iter().any(|(known, _)| *known == text) {
                self.add(&item.span, format!("`{text}` is twice in {what}"));
            } else {
                texts.push((text, item.span.clone()));
            }
        }
        texts
    }

    /// True or false.
    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match node.value {
            Json::Bool(value) => Some(value),
            _ => {
                self.add(&node.span, format!("{what} must be `true` or `false`"));
                None
            }
        }
    }

    /// A whole number of at least 1.
    pub(super) fn positive(&mut self, node: &Node, what: &str) -> Option<u64> {
        let number = match &node.value {
            Json::Number(number) => number.as_u64().filter(|number| *number > 0),
            _ => None,
        };
        if number.is_none() {
            self.add(&node.span, format!("{what} must be a whole number of at least 1"));
        }
        number
    }

    /// Whether `name` is a name of `kind`; reports what is wrong otherwise.
    pub(super) fn name(&mut self, span: &Range<usize>, name: &str, what: &str, kind: NameKind) -> bool {
        let fits = kind.fits(name);
        if !fits {
            let suggestion = kind.repair(name);
            let help = match suggestion {
                Some(name) => format!("use {}, such as `{name}`", kind.rule()),
                None => format!("use {}", kind.rule()),
            };
            self.add_with_help(span, format!("`{name}` is not a name for {what}"), Some(help));
        }
        fits
    }
}

/// The rules that names follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameKind {
    /// `[a-z][a-z0-9_]*`: names of columns and methods.
    Lower,
    /// `[A-Za-z][A-Za-z0-9_]*`: names of entities, relations, inputs and outputs.
    Any,
}

impl NameKind {
    fn fits(self, name: &str) -> bool {
        let mut letters = name.chars();
        let letter = |c: char| c.is_ascii_lowercase() || (self == Self::Any && c.is_ascii_uppercase());
        letters.next().is_some_and(letter) && letters.all(|c| letter(c) || c.is_ascii_digit() || c == '_')
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Lower => "lower-case letters, digits and `_`, a letter first",
            Self::Any => "letters, digits and `_`, a letter first",
        }
    }

    /// A right name that is like `name`: `postId` and `post-id` become `post_id`.
    fn repair(self, name: &str) -> Option<String> {
        let mut repaired = String::new();
        let mut after_lower = false;
        for c in name.trim().chars() {
            if self == Self::Lower && c.is_ascii_uppercase() && after_lower {
                repaired.push('_');
            }
            after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
            let kept = if c.is_ascii_alphanumeric() { c } else { '_' };
            repaired.push(if self == Self::Lower { kept.to_ascii_lowercase() } else { kept });
        }
        self.fits(&repaired).then_some(repaired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_repaired_where_that_is_possible() {
        assert_eq!(NameKind::Lower.repair("postId").as_deref(), Some("post_id"));
        assert_eq!(NameKind::Lower.repair("Post ID").as_deref(), Some("post_id"));
        assert_eq!(NameKind::Any.repair("is-part-of").as_deref(), Some("is_part_of"));
        assert_eq!(NameKind::Lower.repair("1st"), None);
    }

    #[test]
    fn names_follow_their_rule() {
        assert!(NameKind::Lower.fits("post_id2") && !NameKind::Lower.fits("_post") && !NameKind::Lower.fits("Post"));
        assert!(NameKind::Any.fits("PostAuthor") && !NameKind::Any.fits("é") && !NameKind::Any.fits(""));
    }
}
