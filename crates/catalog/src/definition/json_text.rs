//! A strict JSON reader that knows where everything stands and does not stop at the first slip.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Number, Value};

use crate::error::{DefinitionFinding, position};
use crate::nearest::nearest;

/// Deeper than any definition, and shallow enough for the stack.
const MAX_DEPTH: usize = 64;

/// A JSON value and the bytes it was written in.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: Json,
}

/// A JSON value whose parts know their places.
#[derive(Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// One entry of an object.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) name_span: Range<usize>,
    pub(crate) node: Node,
}

impl Node {
    /// As a plain value.
    pub(crate) fn to_value(&self) -> Value {
        match &self.value {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(value) => Value::Number(value.clone()),
            Json::String(value) => Value::String(value.clone()),
            Json::Array(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Json::Object(members) => {
                Value::Object(members.iter().map(|member| (member.name.clone(), member.node.to_value())).collect())
            }
        }
    }
}

/// Reads `text`. Without findings there is always a value; with findings there may be one, and it holds what could be read.
pub(crate) fn read(text: &str) -> (Option<Node>, Vec<DefinitionFinding>) {
    let mut parser = Parser { text, at: 0, depth: 0, findings: Vec::new() };
    parser.at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    parser.skip_space();
    if parser.at == text.len() {
        parser.report(0..0, "the file is empty", Some("the least catalog is `{}`"));
        return (None, parser.findings);
    }
    let node = parser.value().ok();
    parser.skip_space();
    if node.is_some() && parser.at < text.len() {
        let rest = parser.at..parser.at + parser.peek().map_or(0, char::len_utf8);
        parser.report(rest, "there is text after the end of the catalog", None);
    }
    (node, parser.findings)
}

/// The rest of the text cannot be understood; why has been reported.
struct Lost;

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    findings: Vec<DefinitionFinding>,
}

impl Parser<'_> {
    fn report(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<&str>) {
        self.findings.push(DefinitionFinding { span, message: message.into(), help: help.map(str::to_owned) });
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> Range<usize> {
        let start = self.at;
        while let Some(next) = self.peek().filter(|next| belongs(*next)) {
            self.at += next.len_utf8();
        }
        start..self.at
    }

    fn skip_space(&mut self) {
        self.take_while(|next| matches!(next, ' ' | '\t' | '\n' | '\r'));
    }

    fn slice(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    fn value(&mut self) -> Result<Node, Lost> {
        let start = self.at;
        let value = match self.peek() {
            Some('{') => self.nested(Self::object)?,
            Some('[') => self.nested(Self::array)?,
            Some('"') => Json::String(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some(next) if next.is_alphabetic() => self.word()?,
            next => return Err(self.unexpected(next)),
        };
        Ok(Node { span: start..self.at, value })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Lost>) -> Result<Json, Lost> {
        if self.depth == MAX_DEPTH {
            self.report(self.at..self.at + 1, format!("the catalog is nested deeper than {MAX_DEPTH} levels"), None);
            return Err(Lost);
        }
        self.depth += 1;
        let json = read(self);
        self.depth -= 1;
        json
    }

    fn object(&mut self) -> Result<Json, Lost> {
        let open = self.at;
        self.take('{');
        let mut members: Vec<Member> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        while self.more(open, '}', members.is_empty() && seen.is_empty())? {
            let (name, name_span) = self.name()?;
            self.skip_space();
            if !self.take(':') {
                self.report(name_span.clone(), format!("`:` is missing after `{name}`"), None);
            }
            self.skip_space();
            let node = self.value()?;
            if let Some(first) = seen.get(&name) {
                let help = format!("it is first given at line {}", position(self.text, *first).0);
                self.report(name_span, format!("`{name}` is given twice"), Some(&help));
            } else {
                seen.insert(name.clone(), name_span.start);
                members.push(Member { name, name_span, node });
            }
        }
        Ok(Json::Object(members))
    }

    fn array(&mut self) -> Result<Json, Lost> {
        let open = self.at;
        self.take('[');
        let mut items = Vec::new();
        while self.more(open, ']', items.is_empty())? {
            items.push(self.value()?);
        }
        Ok(Json::Array(items))
    }

    /// Goes to the next entry; false when the bracket closed. A comma too many or too few is reported and forgiven.
    fn more(&mut self, open: usize, close: char, first: bool) -> Result<bool, Lost> {
        let end_of_last = self.at;
        self.skip_space();
        let comma = self.at;
        let separated = !first && self.take(',');
        self.skip_space();
        match self.peek() {
            None => {
                let bracket = self.slice(&(open..open + 1)).to_owned();
                self.report(open..open + 1, format!("`{bracket}` is never closed"), Some(&format!("add `{close}`")));
                Err(Lost)
            }
            Some(next) if next == close => {
                if separated {
                    self.report(comma..comma + 1, format!("there is a comma before `{close}`"), Some("remove it"));
                }
                self.take(close);
                Ok(false)
            }
            Some(next) if !first && !separated && starts_value(next) => {
                self.report(end_of_last.saturating_sub(1)..end_of_last, "a comma is missing after this", None);
                Ok(true)
            }
            next if !first && !separated => Err(self.unexpected(next)),
            Some(_) => Ok(true),
        }
    }

    /// The name of a member. A name without quotes is reported and taken.
    fn name(&mut self) -> Result<(String, Range<usize>), Lost> {
        let start = self.at;
        match self.peek() {
            Some('"') => {
                let name = self.string()?;
                Ok((name, start..self.at))
            }
            Some(next) if next.is_alphabetic() || next == '_' => {
                let span = self.take_while(|next| next.is_alphanumeric() || matches!(next, '_' | '-' | '.'));
                let name = self.slice(&span).to_owned();
                self.report(span.clone(), format!("the name `{name}` has no quotes"), Some(&format!("write `\"{name}\"`")));
                Ok((name, span))
            }
            next => Err(self.unexpected(next)),
        }
    }

    fn string(&mut self) -> Result<String, Lost> {
        let start = self.at;
        self.take('"');
        loop {
            self.take_while(|next| !matches!(next, '"' | '\\' | '\n'));
            match self.peek() {
                Some('"') => break self.at += 1,
                Some('\\') => {
                    self.at += 1;
                    self.at += self.peek().map_or(0, char::len_utf8);
                }
                _ => {
                    self.report(start..self.at, "the text is not closed", Some("add `\"` at its end"));
                    return Err(Lost);
                }
            }
        }
        let span = start..self.at;
        if let Ok(text) = serde_json::from_str(self.slice(&span)) {
            return Ok(text);
        }
        self.report(
            span,
            "the text has an escape or a control character that JSON does not allow",
            Some("write a backslash as `\\\\` and a tab as `\\t`"),
        );
        Ok(String::new())
    }

    fn number(&mut self) -> Result<Json, Lost> {
        let span = self.take_while(|next| next.is_ascii_alphanumeric() || matches!(next, '+' | '-' | '.'));
        if let Ok(number) = serde_json::from_str(self.slice(&span)) {
            return Ok(Json::Number(number));
        }
        let message = format!("`{}` is not a number of JSON", self.slice(&span));
        self.report(span, message, Some("a text stands in double quotes"));
        Ok(Json::Null)
    }

    fn word(&mut self) -> Result<Json, Lost> {
        let span = self.take_while(|next| next.is_alphanumeric() || next == '_');
        let word = self.slice(&span).to_owned();
        match word.as_str() {
            "null" => Ok(Json::Null),
            "true" => Ok(Json::Bool(true)),
            "false" => Ok(Json::Bool(false)),
            _ => {
                let help = match nearest(&word, ["true", "false", "null"]) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "a text stands in double quotes".to_owned(),
                };
                self.report(span, format!("`{word}` is not a value of JSON"), Some(&help));
                Err(Lost)
            }
        }
    }

    fn unexpected(&mut self, next: Option<char>) -> Lost {
        let span = self.at..self.at + next.map_or(0, char::len_utf8);
        match next {
            None => self.report(span, "the file ends too early", None),
            Some('\'') => self.report(span, "`'` is not a quote of JSON", Some("a text stands in double quotes")),
            Some('/' | '#') => self.report(span, "JSON has no comments", Some("put the text into a `description`")),
            Some(next) => self.report(span, format!("`{next}` is not expected here"), None),
        }
        Lost
    }
}

/// Whether a value or a name can start with `next`.
fn starts_value(next: char) -> bool {
    matches!(next, '"' | '{' | '[' | '-' | '_') || next.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn findings(text: &str) -> Vec<(String, String)> {
        read(text).1.into_iter().map(|finding| (text[finding.span].to_owned(), finding.message)).collect()
    }

    fn one(text: &str, at: &str, message: &str) {
        assert_eq!(findings(text), [(at.to_owned(), message.to_owned())], "{text}");
    }

    #[test]
    fn what_serde_reads_is_read_the_same() {
        for text in [
            "{}",
            " [1, -2.5e3, 18446744073709551615, 0.1, true, false, null, \"\"] ",
            r#"{"a": {"b": [[], {}]}, "é": "\u00e9\n\"\\\ud83e\udd80 😀"}"#,
        ] {
            let (node, findings) = read(text);
            assert_eq!(findings, []);
            assert_eq!(node.unwrap().to_value(), serde_json::from_str::<Value>(text).unwrap());
        }
        assert_eq!(read("\u{feff}{}").0.unwrap().to_value(), json!({}));
    }

    #[test]
    fn what_serde_refuses_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "[1,",
            "\"a",
            "01",
            "1.",
            "+1",
            ".5",
            "--1",
            "1e",
            "nul",
            "True",
            "[1 2]",
            "{\"a\" 1}",
            "{1:2}",
            "[,]",
            "{,}",
            "[1,,2]",
            "{}{}",
            "[1]]",
            "\"\\q\"",
            "\"\t\"",
            "\"\\ud800\"",
            "'a'",
            "// no\n{}",
            "{a: 1}",
            "[1,]",
            "1e999",
            "{\"a\":1}}",
            "\"\\",
            "NaN",
            "\u{a0}{}",
        ] {
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text:?} is JSON after all");
            assert!(!read(text).1.is_empty(), "{text:?} was accepted");
        }
    }

    #[test]
    fn slips_are_found_at_their_place() {
        one(r#"{"a": [1, 2,]}"#, ",", "there is a comma before `]`");
        one("{\"a\": 1\n \"b\": 2}", "1", "a comma is missing after this");
        one(r#"{"a": 1, b: 2}"#, "b", "the name `b` has no quotes");
        one(r#"{"a" 1}"#, "\"a\"", "`:` is missing after `a`");
        one(r#"{"a": 'b'}"#, "'", "`'` is not a quote of JSON");
        one(r#"{"a": [1, 2}"#, "}", "`}` is not expected here");
        one(r#"{"a": {"b": 1}"#, "{", "`{` is never closed");
        one("{\"a\": \"b\n}", "\"b", "the text is not closed");
        one(r#"{"a": True}"#, "True", "`True` is not a value of JSON");
        one(r#"{"a": 007}"#, "007", "`007` is not a number of JSON");
        one("{} x", "x", "there is text after the end of the catalog");
        one("{ // why\n}", "/", "JSON has no comments");
    }

    #[test]
    fn a_name_given_twice_is_found_where_it_is_repeated() {
        let text = "{\"a\": 1,\n\"b\": 2,\n\"a\": 3}";
        let (_, findings) = read(text);
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].span.start, findings[0].message.as_str()), (text.rfind("\"a\"").unwrap(), "`a` is given twice"));
        assert_eq!(findings[0].help.as_deref(), Some("it is first given at line 1"));
    }

    #[test]
    fn several_slips_are_found_in_one_go() {
        assert_eq!(findings(r#"{"a": 1,, "b": 2}"#).len(), 1);
        assert_eq!(findings(r#"{"a": [1,], "a": 2 "b": 3,}"#).len(), 4);
    }

    #[test]
    fn hostile_nesting_is_refused() {
        assert!(findings(&"[".repeat(1_000_000))[0].1.contains("nested deeper"));
    }
}
