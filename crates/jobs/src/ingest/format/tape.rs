//! JSON text as a flat list of nodes, checked whole before any of it is used.
//!
//! A record must be known to be sound before its first value enters a column, and its numbers must stay the text they were. So the
//! text is read once into nodes that point into it; the columns then walk the nodes and cannot fail on syntax.

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    /// A number, `true` or `false`.
    Literal,
    /// A string without escapes.
    Text,
    /// A string with escapes.
    Escaped,
    Object,
    Array,
}

/// A value, or the key of an object's entry (followed by the value). Strings are without their quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
    next: u32,
}

impl Node {
    /// The text: of a string what stands between the quotes, as delivered.
    pub(super) fn inner<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The JSON text of the value, with the quotes of a string.
    pub(super) fn json<'t>(&self, text: &'t str) -> &'t str {
        match self.kind {
            Kind::Text | Kind::Escaped => text.get(self.start as usize - 1..self.end as usize + 1).unwrap_or_default(),
            _ => self.inner(text),
        }
    }

    /// The index of the node after this one and all that is in it.
    pub(super) fn next(&self) -> usize {
        self.next as usize
    }
}

/// Why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    /// The byte it was noticed at, from 0.
    pub(super) at: usize,
    pub(super) what: &'static str,
}

type Step<T> = Result<T, Fault>;

const MAX_DEPTH: usize = 128;

/// Most nodes of a record: a long list of short numbers takes many times its length in memory.
const MAX_NODES: usize = 4 << 20;

/// Reads `text`, one JSON value, into `nodes`. The text is shorter than 4 GiB, as records are limited far below.
pub(super) fn parse(text: &str, nodes: &mut Vec<Node>) -> Step<()> {
    nodes.clear();
    let mut parser = Parser { bytes: text.as_bytes(), at: 0, nodes };
    parser.value(0)?;
    parser.space();
    match parser.at == parser.bytes.len() {
        true => Ok(()),
        false => parser.fault("text after the end of the value"),
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: &'a mut Vec<Node>,
}

impl Parser<'_> {
    fn fault<T>(&self, what: &'static str) -> Step<T> {
        Err(Fault { at: self.at.min(self.bytes.len()), what })
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        let next = self.nodes.len() as u32 + 1;
        self.nodes.push(Node { kind, start: start as u32, end: end as u32, next });
    }

    fn value(&mut self, depth: usize) -> Step<()> {
        self.space();
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.nested(depth, Kind::Object),
            Some(b'[') => self.nested(depth, Kind::Array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Kind::Literal),
            Some(b'f') => self.word("false", Kind::Literal),
            Some(b'n') => self.word("null", Kind::Null),
            Some(_) => self.fault("expected a value"),
            None => self.fault("the text ends where a value was expected"),
        }
    }

    fn nested(&mut self, depth: usize, kind: Kind) -> Step<()> {
        if depth == MAX_DEPTH {
            return self.fault("nested deeper than 128");
        }
        let (open, close) = (self.nodes.len(), if kind == Kind::Object { b'}' } else { b']' });
        self.push(kind, self.at, self.at);
        self.at += 1;
        self.space();
        if self.peek() != Some(close) {
            loop {
                if kind == Kind::Object {
                    self.key()?;
                }
                self.value(depth + 1)?;
                if self.nodes.len() > MAX_NODES {
                    return self.fault("more than 4194304 values in one record");
                }
                self.space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(byte) if byte == close => break,
                    Some(_) => return self.fault("expected `,` or the closing bracket"),
                    None => return self.fault("the text ends before the closing bracket"),
                }
            }
        }
        self.at += 1;
        let next = self.nodes.len() as u32;
        if let Some(node) = self.nodes.get_mut(open) {
            (node.end, node.next) = (self.at as u32, next);
        }
        Ok(())
    }

    fn key(&mut self) -> Step<()> {
        self.space();
        if self.peek() != Some(b'"') {
            return self.fault("expected a key in quotes");
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.fault("expected `:`");
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, kind: Kind) -> Step<()> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return self.fault("expected a value");
        }
        let start = self.at;
        self.at += word.len();
        self.push(kind, start, self.at);
        Ok(())
    }

    fn number(&mut self) -> Step<()> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        self.push(Kind::Literal, start, self.at);
        Ok(())
    }

    fn digits(&mut self) -> Step<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { self.fault("expected a digit") } else { Ok(()) }
    }

    fn string(&mut self) -> Step<()> {
        self.at += 1;
        let start = self.at;
        let mut kind = Kind::Text;
        loop {
            self.at = end_of_plain(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    kind = Kind::Escaped;
                    self.escape()?;
                }
                Some(_) => return self.fault("a control character in a string"),
                None => return self.fault("the text ends in a string"),
            }
        }
        self.push(kind, start, self.at);
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Step<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match unicode_escape(&self.bytes[self.at..]) {
                Some((_, length)) => self.at += length,
                None => return self.fault("a `\\u` escape that is no character"),
            },
            _ => return self.fault("an unknown escape in a string"),
        }
        Ok(())
    }
}

/// Where the run of bytes that need no care ends: at a quote, a backslash, a control character, or the end.
fn end_of_plain(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    while let Some(eight) = bytes.get(at..).and_then(|b| b.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let quote = word ^ (ONES * u64::from(b'"'));
        let slash = word ^ (ONES * u64::from(b'\\'));
        // A byte's high bit is set here when it is a quote, a backslash, or below 0x20; the lowest such bit is exact.
        let hits = ((quote.wrapping_sub(ONES) & !quote)
            | (slash.wrapping_sub(ONES) & !slash)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGH;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|b| *b >= 0x20 && *b != b'"' && *b != b'\\') {
        at += 1;
    }
    at
}

/// The character of `\uXXXX`, or of a surrogate pair of them, at the start of `bytes`, and its length in bytes.
fn unicode_escape(bytes: &[u8]) -> Option<(char, usize)> {
    let first = hex_escape(bytes)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).map(|c| (c, 6));
    }
    let second = hex_escape(bytes.get(6..)?)?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).map(|c| (c, 12))
}

fn hex_escape(bytes: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = bytes else { return None };
    digits.get(..4)?.iter().try_fold(0, |sum, d| Some(sum * 16 + char::from(*d).to_digit(16)?))
}

/// Writes the string that `inner`, a checked JSON string without its quotes, stands for into `out`.
pub(super) fn unescape(inner: &str, out: &mut String) {
    out.clear();
    let mut rest = inner;
    while let Some(slash) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escape) = rest.split_at(slash);
        out.push_str(plain);
        let (character, length) = match escape.as_bytes().get(1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => unicode_escape(escape.as_bytes()).unwrap_or((char::REPLACEMENT_CHARACTER, 6)),
            Some(other) => (char::from(*other), 2),
            None => break,
        };
        out.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn parsed(text: &str) -> Step<Vec<Node>> {
        let mut nodes = Vec::new();
        parse(text, &mut nodes).map(|()| nodes)
    }

    #[test]
    fn nodes_keep_the_text_as_delivered() {
        let text = r#" {"a": 1.10, "b\n": [true, null, "x\"y"], "c": {}} "#;
        let nodes = parsed(text).unwrap();
        let seen: Vec<_> = nodes.iter().map(|n| (n.kind, n.json(text), n.next())).collect();
        assert_eq!(
            seen,
            [
                (Kind::Object, text.trim(), 10),
                (Kind::Text, r#""a""#, 2),
                (Kind::Literal, "1.10", 3),
                (Kind::Escaped, r#""b\n""#, 4),
                (Kind::Array, r#"[true, null, "x\"y"]"#, 8),
                (Kind::Literal, "true", 6),
                (Kind::Null, "null", 7),
                (Kind::Escaped, r#""x\"y""#, 8),
                (Kind::Text, r#""c""#, 9),
                (Kind::Object, "{}", 10),
            ]
        );
    }

    #[test]
    fn what_is_not_json_is_told_with_its_place() {
        for (text, at, what) in [
            ("", 0, "the text ends where a value was expected"),
            (r#"{"a" 1}"#, 5, "expected `:`"),
            (r#"{"a":1"#, 6, "the text ends before the closing bracket"),
            (r#"{"a":1,}"#, 7, "expected a key in quotes"),
            (r#"{"a":1} x"#, 8, "text after the end of the value"),
            ("[NaN]", 1, "expected a value"),
            ("[01]", 2, "expected `,` or the closing bracket"),
            ("[1.]", 3, "expected a digit"),
            (r#"["\ud800"]"#, 2, "a `\\u` escape that is no character"),
            ("[\"a\tb\"]", 3, "a control character in a string"),
            (r#"["abcdefgh"#, 10, "the text ends in a string"),
        ] {
            assert_eq!(parsed(text).unwrap_err(), Fault { at, what }, "{text}");
        }
    }

    #[test]
    fn nesting_has_a_floor() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parsed(&deep(128)).is_ok());
        assert_eq!(parsed(&deep(129)).unwrap_err().what, "nested deeper than 128");
        assert!(parsed(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn a_record_of_too_many_values_is_refused() {
        let many = |n: usize| format!("[{}1]", "1,".repeat(n - 1));
        assert!(parsed(&many(MAX_NODES - 1)).is_ok());
        assert_eq!(parsed(&many(MAX_NODES + 1)).unwrap_err().what, "more than 4194304 values in one record");
    }

    proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(text in r#"[\[\]{}",:0-9eE+\-.a\\u"ntrlsf \n\t]{0,24}"#) {
            let ours = parsed(&text);
            let theirs = serde_json::from_str::<IgnoredAny>(&text);
            // A lone surrogate is sound grammar and no character: only we care here.
            let surrogate = ours.is_err_and(|f| f.what.contains("\\u"));
            prop_assert!(parsed(&text).is_ok() == theirs.is_ok() || surrogate);
        }

        #[test]
        fn a_string_reads_back(string in any::<String>()) {
            let text = serde_json::to_string(&string).unwrap();
            let nodes = parsed(&text).unwrap();
            let mut out = String::new();
            unescape(nodes[0].inner(&text), &mut out);
            prop_assert_eq!(out, string);
        }

        #[test]
        fn an_escaped_string_reads_back(string in any::<String>()) {
            let inner: String = string.encode_utf16().map(|u| format!("\\u{u:04X}")).collect();
            let text = format!("\"{inner}\"");
            let nodes = parsed(&text).unwrap();
            let mut out = String::new();
            unescape(nodes[0].inner(&text), &mut out);
            prop_assert_eq!(out, string);
        }
    }
}
