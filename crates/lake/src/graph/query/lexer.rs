//! The words of a query.

use crate::error::{Error, ErrorKind, Result};

/// Longer queries are refused.
const LONGEST: usize = 32 * 1024;

/// A word, and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    Name(String),
    Integer(i64),
    Float(f64),
    Text(String),
    Symbol(&'static str),
    End,
}

impl TokenKind {
    /// As it is named in errors; texts may be secrets.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Integer(_) | Self::Float(_) => "a number".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// The longer ones first. `->`, `<-` and `--` are not among them: `a.x<-1` is a comparison.
const SYMBOLS: [&str; 21] =
    ["<=", ">=", "<>", "..", "(", ")", "[", "]", "{", "}", ",", ":", ";", ".", "*", "|", "=", "<", ">", "-", "+"];

/// An error at a place of the query.
pub(super) fn error_at(query: &str, at: usize, message: impl std::fmt::Display) -> Error {
    let before = query.get(..at).unwrap_or(query);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Error::new(ErrorKind::Query, format!("line {line}, column {column}: {message}"))
}

pub(super) fn tokens(query: &str) -> Result<Vec<Token>> {
    if query.len() > LONGEST {
        return Err(Error::new(ErrorKind::Query, format!("the query is longer than {LONGEST} bytes")));
    }
    let mut lexer = Lexer { query, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip(|c| c.is_ascii_whitespace());
        let at = lexer.at;
        let kind = lexer.next()?;
        let is_end = kind == TokenKind::End;
        found.push(Token { kind, at });
        if is_end {
            return Ok(found);
        }
    }
}

struct Lexer<'a> {
    query: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        self.query.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Passes over characters and gives them.
    fn skip(&mut self, is: impl Fn(char) -> bool) -> String {
        let found: String = self.rest().chars().take_while(|c| is(*c)).collect();
        self.at += found.len();
        found
    }

    fn next(&mut self) -> Result<TokenKind> {
        let Some(first) = self.peek() else { return Ok(TokenKind::End) };
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(TokenKind::Name(self.skip(|c| c.is_ascii_alphanumeric() || c == '_')));
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '\'' || first == '"' {
            return self.text(first);
        }
        if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol)) {
            self.at += symbol.len();
            return Ok(TokenKind::Symbol(symbol));
        }
        Err(self.refusal(first))
    }

    fn refusal(&self, first: char) -> Error {
        let error = |message: &str| error_at(self.query, self.at, message);
        match first {
            '$' => error("there are no parameters").with_hint("write the value itself: `'text'`, `1`, `1.5`, `true`"),
            '`' => error("names are not quoted").with_hint("a name is letters, digits and `_`"),
            '/' if self.rest().starts_with("//") || self.rest().starts_with("/*") => error("there are no comments"),
            _ => error(&format!("`{}` means nothing here", first.escape_debug()))
                .with_hint("a query is such as `MATCH (a:Person)-[:WROTE]->(b) WHERE a.age > 30 RETURN a, b LIMIT 10`"),
        }
    }

    fn number(&mut self) -> Result<TokenKind> {
        let start = self.at;
        let mut text = self.skip(|c| c.is_ascii_digit());
        let mut is_float = false;
        if self.rest().starts_with('.') && self.rest().chars().nth(1).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
            text = format!("{text}.{}", self.skip(|c| c.is_ascii_digit()));
            is_float = true;
        }
        let exponent = self.rest().strip_prefix(['e', 'E']).map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
        if exponent.is_some_and(|digits| digits.starts_with(|c: char| c.is_ascii_digit())) {
            let sign = if self.rest().get(1..2) == Some("-") { "-" } else { "" };
            self.at += if self.rest().get(1..2).is_some_and(|s| s == "-" || s == "+") { 2 } else { 1 };
            text = format!("{text}e{sign}{}", self.skip(|c| c.is_ascii_digit()));
            is_float = true;
        }
        let no_number = || error_at(self.query, start, "this number cannot be had");
        if self.peek().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(no_number());
        }
        if is_float {
            let value: f64 = text.parse().map_err(|_| no_number())?;
            return if value.is_finite() { Ok(TokenKind::Float(value)) } else { Err(no_number()) };
        }
        text.parse().map(TokenKind::Integer).map_err(|_| no_number())
    }

    fn text(&mut self, quote: char) -> Result<TokenKind> {
        let start = self.at;
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    let escape = chars.next().map(|(_, c)| c);
                    let meant = match escape {
                        Some('u') => {
                            let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                            let is_hex = digits.len() == 4 && digits.chars().all(|c| c.is_ascii_hexdigit());
                            u32::from_str_radix(&digits, 16).ok().filter(|_| is_hex).and_then(char::from_u32)
                        }
                        other => other.and_then(escaped),
                    };
                    let hint = "there are \\\\ \\' \\\" \\n \\t \\r \\b \\f and \\uXXXX";
                    text.push(meant.ok_or_else(|| error_at(self.query, start + at, "no such escape").with_hint(hint))?);
                }
                c if c == quote => {
                    self.at = start + at + 1;
                    return Ok(TokenKind::Text(text));
                }
                c => text.push(c),
            }
        }
        Err(error_at(self.query, start, "this text does not end").with_hint(format!("it ends with {quote}")))
    }
}

fn escaped(c: char) -> Option<char> {
    Some(match c {
        '\\' | '\'' | '"' => c,
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(query: &str) -> Vec<TokenKind> {
        tokens(query).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn texts_and_numbers_are_read_as_cypher_reads_them() {
        use TokenKind::{End, Float, Integer, Symbol, Text};
        assert_eq!(kinds(r#"'it''s' "\u00e9\n\"'""#), [Text("it".into()), Text("s".into()), Text("é\n\"'".into()), End]);
        assert_eq!(
            kinds("1..3 1.5 2e3 1E-2 007"),
            [Integer(1), Symbol(".."), Integer(3), Float(1.5), Float(2000.0), Float(0.01), Integer(7), End]
        );
    }

    #[test]
    fn what_is_no_word_is_refused_at_its_place() {
        let place = |query: &str| tokens(query).unwrap_err().to_string();
        assert!(place("MATCH\n  $x").starts_with("line 2, column 3: there are no parameters"));
        assert!(place("a `b`").starts_with("line 1, column 3: names are not quoted"));
        assert!(place("a // b").contains("no comments") && place("/* a */").contains("no comments"));
        for query in ["'abc", "'\\q'", "'\\u00'", "'\\ud800'", "9999999999999999999", "1e999", "1x", "é", "\u{a0}", "a\0b", "'\\"]
        {
            assert!(tokens(query).is_err(), "{query}");
        }
        assert!(tokens(&" ".repeat(LONGEST + 1)).is_err());
    }
}
