//! Where each character of a value was written: quotes, escapes, folded lines and filled-in variables make a value differ from the
//! text of the file, and a finding must still point at the word the user typed.

use std::ops::Range;

use super::interpolate::{Part, parts};
use crate::diagnostic::{Source, Span, Spanned};

/// The map from bytes of one value to bytes of the file.
pub(super) struct Origin {
    pieces: Vec<Piece>,
    whole: Span,
    secrets: Vec<(String, String)>,
}

struct Piece {
    value: Range<usize>,
    written: Range<usize>,
}

/// The pieces of a value, and what variables hold with how they were written.
struct Aligned {
    pieces: Vec<Piece>,
    secrets: Vec<(String, String)>,
}

/// A character and the range of the text it was read from.
type Positioned = (char, Range<usize>);

impl Origin {
    /// Works out how `value` came from the text at `span`. Where that cannot be told, every position is the whole of `span`.
    pub(super) fn new(source: &Source, span: Span, value: &str) -> Self {
        let written = source.text.get(span.range()).unwrap_or_default();
        let wanted = visible(value);
        for decoded in [single_quoted(written), double_quoted(written), Some(visible(written))].into_iter().flatten() {
            if let Some(Aligned { pieces, secrets }) = align(&decoded, &wanted, written, value) {
                let pieces = pieces.into_iter().map(|p| Piece { written: shift(&p.written, span.start), ..p }).collect();
                return Self { pieces, whole: span, secrets };
            }
        }
        Self { pieces: Vec::new(), whole: span, secrets: Vec::new() }
    }

    /// The place that `range` of the value was written at.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        let first = self.pieces.iter().find(|p| p.value.end > range.start).or(self.pieces.last());
        let Some(first) = first else { return self.whole };
        let end = self
            .pieces
            .iter()
            .take_while(|p| p.value.start < range.end)
            .map(|p| p.written.end)
            .last()
            .unwrap_or(first.written.end)
            .max(first.written.end);
        Span::new(first.written.start, end)
    }

    /// The place of the whole value.
    pub(super) fn whole(&self) -> Span {
        self.whole
    }

    /// `message` with what variables were filled in with put back to `${NAME}`: a message may quote the value, and a variable may
    /// hold a secret.
    pub(super) fn redact(&self, message: &str) -> String {
        self.secrets.iter().fold(message.to_owned(), |text, (secret, written)| text.replace(secret.as_str(), written))
    }
}

/// The value where the file spells it out, and the text of the file where a variable was filled in: what a message may quote.
pub(super) fn as_written<'a>(source: &'a Source, value: &'a Spanned<String>) -> &'a str {
    match source.text.get(value.span.range()) {
        Some(written) if !written.contains(value.value.as_str()) => written,
        _ => &value.value,
    }
}

fn shift(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

/// The characters that YAML neither folds nor strips, which are the same in the text and in the value.
fn visible(text: &str) -> Vec<Positioned> {
    text.char_indices().filter(|(_, c)| !is_blank(*c)).map(|(at, c)| (c, at..at + c.len_utf8())).collect()
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn single_quoted(written: &str) -> Option<Vec<Positioned>> {
    let inner = written.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut decoded = Vec::new();
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        let at = at + 1;
        if c == '\'' {
            let (_, '\'') = chars.next()? else { return None };
            decoded.push((c, at..at + 2));
        } else if !is_blank(c) {
            decoded.push((c, at..at + c.len_utf8()));
        }
    }
    Some(decoded)
}

fn double_quoted(written: &str) -> Option<Vec<Positioned>> {
    let inner = written.strip_prefix('"')?.strip_suffix('"')?;
    let mut decoded = Vec::new();
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let start = at + 1;
        let c = match c {
            '"' => return None,
            '\\' => {
                let (_, escape) = chars.next()?;
                let digits = hex_digits(escape);
                let mut code = 0_u32;
                for _ in 0..digits {
                    code = (code << 4) + chars.next()?.1.to_digit(16)?;
                }
                if digits > 0 { char::from_u32(code)? } else { unescape(escape) }
            }
            other => other,
        };
        let end = chars.peek().map_or(inner.len(), |(next, _)| *next) + 1;
        if !is_blank(c) {
            decoded.push((c, start..end));
        }
    }
    Some(decoded)
}

fn hex_digits(escape: char) -> usize {
    match escape {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => 0,
    }
}

fn unescape(escape: char) -> char {
    match escape {
        '0' => '\0',
        'a' => '\x07',
        'b' => '\x08',
        't' => '\t',
        'n' => '\n',
        'v' => '\x0b',
        'f' => '\x0c',
        'r' => '\r',
        'e' => '\x1b',
        'N' => '\u{85}',
        '_' => '\u{a0}',
        'L' => '\u{2028}',
        'P' => '\u{2029}',
        other => other,
    }
}

/// Matches what was written to the value, character by character where nothing was filled in, and by the text between variables
/// where something was.
fn align(decoded: &[Positioned], wanted: &[Positioned], written: &str, value: &str) -> Option<Aligned> {
    if same(decoded, wanted) {
        return Some(Aligned { pieces: pair(decoded, wanted), secrets: Vec::new() });
    }
    let template: String = decoded.iter().map(|(c, _)| *c).collect();
    let mut index_of_byte = Vec::with_capacity(template.len() + 1);
    for (index, (c, _)) in decoded.iter().enumerate() {
        index_of_byte.extend(std::iter::repeat_n(index, c.len_utf8()));
    }
    index_of_byte.push(decoded.len());
    let slice = |range: &Range<usize>| decoded.get(*index_of_byte.get(range.start)?..*index_of_byte.get(range.end)?);

    let parts = parts(&template);
    let mut aligned = Aligned { pieces: Vec::new(), secrets: Vec::new() };
    let mut at = 0;
    let mut open: Option<Range<usize>> = None;
    for (number, part) in parts.iter().enumerate() {
        let literal = match part {
            Part::Text(range) => slice(range)?,
            Part::Escape(range) => slice(&(range.start + 1..range.end))?,
            Part::Variable { range, .. } => {
                let place = cover(slice(range)?)?;
                open = Some(open.map_or(place.clone(), |o| o.start..place.end));
                continue;
            }
            Part::Broken { .. } => return None,
        };
        let found = match &open {
            None => wanted.get(at..at + literal.len()).filter(|w| same(literal, w)).map(|_| at)?,
            Some(_) if number + 1 == parts.len() => {
                let last = wanted.len().checked_sub(literal.len())?;
                (last >= at && same(literal, wanted.get(last..)?)).then_some(last)?
            }
            Some(_) => at + wanted.get(at..)?.windows(literal.len()).position(|w| same(literal, w))?,
        };
        close(&mut open, wanted.get(at..found)?, written, value, &mut aligned);
        at = found + literal.len();
        aligned.pieces.extend(pair(literal, wanted.get(found..at)?));
    }
    if open.is_none() && at != wanted.len() {
        return None;
    }
    close(&mut open, wanted.get(at..)?, written, value, &mut aligned);
    Some(aligned)
}

/// Ends the run of variables in `open`, which was filled in with `filled`.
fn close(open: &mut Option<Range<usize>>, filled: &[Positioned], written: &str, value: &str, aligned: &mut Aligned) {
    let (Some(place), Some(range)) = (open.take(), cover(filled)) else { return };
    let (Some(secret), Some(name)) = (value.get(range.clone()), written.get(place.clone())) else { return };
    // A shorter text is no secret and would tear words apart.
    if secret.chars().count() >= 4 {
        aligned.secrets.push((secret.to_owned(), name.to_owned()));
    }
    aligned.pieces.push(Piece { value: range, written: place });
}

fn cover(characters: &[Positioned]) -> Option<Range<usize>> {
    Some(characters.first()?.1.start..characters.last()?.1.end)
}

fn same(left: &[Positioned], right: &[Positioned]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l.0 == r.0)
}

fn pair(decoded: &[Positioned], wanted: &[Positioned]) -> Vec<Piece> {
    decoded.iter().zip(wanted).map(|(d, w)| Piece { value: w.1.clone(), written: d.1.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, value: &str, word: &str) -> String {
        let source = Source { path: String::new(), text: format!("k: {text}") };
        let origin = Origin::new(&source, Span::new(3, source.text.len()), value);
        let at = value.find(word).unwrap();
        source.text[origin.span(at..at + word.len()).range()].to_owned()
    }

    #[test]
    fn a_word_is_found_in_every_style_of_scalar() {
        assert_eq!(written("a + größe", "a + größe", "größe"), "größe");
        assert_eq!(written("'it''s b'", "it's b", "b"), "b");
        assert_eq!(written("'it''s b'", "it's b", "it's"), "it''s");
        assert_eq!(written(r#""\u0061\tb\"c""#, "a\tb\"c", "a"), r"\u0061");
        assert_eq!(written(r#""\u0061\tb\"c""#, "a\tb\"c", "b\"c"), r#"b\"c"#);
        assert_eq!(written("SELECT a\n    FROM t", "SELECT a FROM t", "FROM"), "FROM");
        assert_eq!(written("SELECT a\n    FROM t", "SELECT a\nFROM t\n", "t"), "t");
        assert_eq!(written("'a' || 'b'", "'a' || 'b'", "'b'"), "'b'");
    }

    #[test]
    fn a_word_is_found_around_filled_in_variables() {
        let text = "x = '${TOKEN}' AND ${COLUMN:-none}_id = lenght(y)";
        let value = "x = 'a b c' AND brand_id = lenght(y)";
        assert_eq!(written(text, value, "lenght"), "lenght");
        assert_eq!(written(text, value, "b c"), "${TOKEN}");
        assert_eq!(written(text, value, "brand_id"), "${COLUMN:-none}_id");
    }

    #[test]
    fn an_escaped_dollar_sign_is_not_a_variable() {
        assert_eq!(written("a = '$${X}' or b", "a = '${X}' or b", "b"), "b");
    }

    #[test]
    fn what_a_variable_held_is_taken_out_of_messages() {
        let source = Source { path: String::new(), text: "token = '${TOKEN}'".to_owned() };
        let value = "token = 'hunter22'";
        let origin = Origin::new(&source, Span::new(0, source.text.len()), value);
        assert_eq!(origin.redact("found: 'hunter22'"), "found: '${TOKEN}'");
    }

    #[test]
    fn what_cannot_be_told_is_the_whole_value() {
        assert_eq!(written("abc", "xyz", "y"), "abc");
    }
}
