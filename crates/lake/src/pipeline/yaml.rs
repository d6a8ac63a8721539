//! YAML text to a tree in which everything knows its place. What YAML can do and a pipeline does not need (anchors, tags, several
//! documents, keys that are no text) is refused with a reason.

use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use crate::diagnostic::{Diagnostic, Source, Span, Spanned};

/// Deeper than any pipeline, shallow enough to walk by recursion.
const MAX_DEPTH: usize = 64;

/// A value and the place it was written at; a value that was left out has the place of its key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// The kinds of values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Scalar(Scalar),
    Sequence(Vec<Node>),
    Mapping(Mapping),
    /// A finding about this value has been reported; nothing more is to be said about it.
    Invalid,
}

/// Text, before it is taken for a number or anything else.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Neither quoted nor a block, so that YAML may see a number, a boolean or null in it.
    pub(super) plain: bool,
    /// Nothing was written.
    pub(super) absent: bool,
}

/// Keys, each once, and their values in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Mapping {
    pub(super) entries: Vec<Entry>,
}

/// One line of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: Spanned<String>,
    pub(super) value: Node,
}

impl Mapping {
    /// The entry of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key.value == key)
    }
}

/// Reads the one document of `source`. `None` when there is no tree to read on with; then, and when there are smaller findings,
/// `diagnostics` has grown. An empty document is an absent scalar.
pub(super) fn parse(source: &Arc<Source>, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    let mut builder = Builder { source, bytes: char_offsets(&source.text), stack: Vec::new(), root: None, diagnostics };
    if builder.refuse_control_characters() {
        return None;
    }
    let mut documents = 0;
    for event in Parser::new_from_str(&source.text) {
        let (event, place) = match event {
            Ok(found) => found,
            Err(error) => {
                builder.syntax_error(&error);
                return None;
            }
        };
        let span = builder.span(place.start, place.end);
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    builder.error("yaml-syntax", span, "a second document starts here", "a pipeline file holds one document");
                    break;
                }
            }
            Event::MappingStart(anchor, tag) => builder.open(anchor, tag.is_some(), span, true)?,
            Event::SequenceStart(anchor, tag) => builder.open(anchor, tag.is_some(), span, false)?,
            Event::MappingEnd | Event::SequenceEnd => builder.close(span),
            Event::Scalar(text, style, anchor, tag) => {
                builder.refuse_extras(anchor, tag.is_some(), span);
                builder.scalar(text.into_owned(), style, span);
            }
            Event::Alias(_) => {
                builder.error("not-allowed", span, "aliases are not part of the language", "write the value out here again");
                builder.place(Node { span, kind: Kind::Invalid });
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }
    builder.root
}

/// The byte at which each character starts, and the length of the text: the parser counts characters.
fn char_offsets(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    bytes: Vec<usize>,
    stack: Vec<Frame>,
    root: Option<Node>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// A collection that is still open.
struct Frame {
    start: usize,
    /// The items of a sequence, or of a mapping the key that waits for its value.
    items: Vec<Node>,
    mapping: Option<Mapping>,
}

impl Builder<'_> {
    fn byte(&self, marker: Marker) -> usize {
        self.bytes.get(marker.index()).copied().unwrap_or(self.source.text.len())
    }

    fn span(&self, start: Marker, end: Marker) -> Span {
        let start = self.byte(start);
        let end = self.byte(end).max(start);
        let written = self.source.text.get(start..end).unwrap_or_default();
        Span::new(start, start + written.trim_end().len())
    }

    fn error(&mut self, code: &'static str, span: Span, message: &str, help: &str) {
        self.diagnostics.push(Diagnostic::error(code, self.source, span, message).with_help(help));
    }

    /// Whether the text holds characters that YAML does not allow, some of which its parser takes for the end of the text.
    fn refuse_control_characters(&mut self) -> bool {
        let found = self.source.text.char_indices().find(|(_, c)| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r'));
        let Some((at, c)) = found else { return false };
        let message = format!("the control character {c:?} is not allowed in YAML");
        self.error("yaml-syntax", Span::new(at, at + c.len_utf8()), &message, "save the file as plain UTF-8 text");
        true
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let start = self.byte(*error.marker()).min(self.source.text.len());
        let width = self.source.text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let (message, help) = explain(error.info());
        let line = self.source.text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let tab = self.source.text.get(line..start).and_then(|indent| indent.find('\t')).map(|at| line + at);
        let (start, width) = match tab {
            Some(tab) if message.contains("tab") => (tab, 1),
            _ => (start, width),
        };
        self.error("yaml-syntax", Span::new(start, start + width), &message, help);
    }

    fn refuse_extras(&mut self, anchor: usize, tag: bool, span: Span) {
        let written = self.source.text.get(span.range()).unwrap_or_default();
        let word = written.find(char::is_whitespace).unwrap_or(written.len());
        let span = Span::new(span.start, span.start + word);
        if anchor > 0 {
            self.error("not-allowed", span, "anchors are not part of the language", "write the value out where it is needed");
        }
        if tag {
            self.error("not-allowed", span, "tags are not part of the language", "leave the word that starts with `!` out");
        }
    }

    /// Starts a collection; `None` when it is nested too deeply to go on.
    fn open(&mut self, anchor: usize, tag: bool, span: Span, mapping: bool) -> Option<()> {
        self.refuse_extras(anchor, tag, span);
        if self.stack.len() >= MAX_DEPTH {
            self.error("yaml-syntax", span, "this is nested too deeply", "a pipeline needs only a few levels");
            return None;
        }
        self.stack.push(Frame { start: span.start, items: Vec::new(), mapping: mapping.then(Mapping::default) });
        Some(())
    }

    fn close(&mut self, end: Span) {
        let Some(frame) = self.stack.pop() else { return };
        let opening = self.source.text.get(frame.start..).and_then(|rest| rest.chars().next());
        let braces = matches!(opening, Some('{' | '['));
        let last = match &frame.mapping {
            Some(mapping) => mapping.entries.last().map(|e| e.value.span.end.max(e.key.span.end)),
            None => frame.items.last().map(|item| item.span.end),
        };
        // A block has no closing character: the parser finds its end behind the comments that follow.
        let end = if braces { end.start + 1 } else { last.unwrap_or(frame.start) };
        let span = Span::new(frame.start, end.max(frame.start));
        let kind = match frame.mapping {
            Some(mut mapping) => {
                if braces {
                    self.find_split_values(&mut mapping);
                }
                Kind::Mapping(mapping)
            }
            None => Kind::Sequence(frame.items),
        };
        self.place(Node { span, kind });
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, span: Span) {
        let plain = style == ScalarStyle::Plain;
        let span = match style {
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => self.up_to_closing_quote(span),
            _ => span,
        };
        let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let absent = (plain || block) && text.trim().is_empty();
        self.place(Node { span, kind: Kind::Scalar(Scalar { text, plain, absent }) });
    }

    /// The parser's place of a quoted scalar goes on over the blanks and the comment behind it.
    fn up_to_closing_quote(&self, span: Span) -> Span {
        let written = self.source.text.get(span.range()).unwrap_or_default();
        let mut chars = written.char_indices();
        let Some((_, quote)) = chars.next() else { return span };
        let mut chars = chars.peekable();
        while let Some((at, c)) = chars.next() {
            if c == '\\' && quote == '"' {
                chars.next();
            } else if c == quote {
                if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == quote) {
                    chars.next();
                } else {
                    return Span::new(span.start, span.start + at + 1);
                }
            }
        }
        span
    }

    /// Puts a whole value where it belongs.
    fn place(&mut self, node: Node) {
        let Some(frame) = self.stack.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        if frame.mapping.is_none() {
            frame.items.push(node);
            return;
        }
        match frame.items.pop() {
            None => frame.items.push(node),
            Some(key) => self.place_entry(key, node),
        }
    }

    fn place_entry(&mut self, key: Node, mut value: Node) {
        let Kind::Scalar(Scalar { text, absent: false, .. }) = key.kind else {
            if key.kind != Kind::Invalid {
                let help = "a key is one word, followed by a colon and its value";
                self.error("yaml-syntax", key.span, "this key is not a plain text", help);
            }
            return;
        };
        if matches!(&value.kind, Kind::Scalar(Scalar { absent: true, .. })) {
            value.span = key.span;
        }
        let first = self.mapping().and_then(|m| m.get(&text)).map(|e| e.key.span);
        match first {
            Some(first) => self.report_duplicate(&text, key.span, first),
            None => {
                let entry = Entry { key: Spanned::new(text, key.span), value };
                if let Some(mapping) = self.mapping() {
                    mapping.entries.push(entry);
                }
            }
        }
    }

    fn mapping(&mut self) -> Option<&mut Mapping> {
        self.stack.last_mut().and_then(|f| f.mapping.as_mut())
    }

    fn report_duplicate(&mut self, key: &str, span: Span, first: Span) {
        let line = self.source.text.get(..first.start).unwrap_or_default().matches('\n').count() + 1;
        let diagnostic = Diagnostic::error("duplicate-key", self.source, span, format!("`{key}` is given twice"))
            .with_help(format!("it was first given on line {line}; keep one of the two"));
        self.diagnostics.push(diagnostic);
    }

    /// In `{ a: coalesce(x, y) }` the comma ends the value, and YAML sees a key `y)` without a value. The user meant one value.
    fn find_split_values(&mut self, mapping: &mut Mapping) {
        let mut kept: Vec<Entry> = Vec::with_capacity(mapping.entries.len());
        let mut split: Option<(Span, i64)> = None;
        for entry in std::mem::take(&mut mapping.entries) {
            let bare = matches!(&entry.value.kind, Kind::Scalar(s) if s.absent);
            match &mut split {
                Some((span, depth)) if bare && *depth > 0 => {
                    span.end = entry.key.span.end;
                    *depth += open_brackets(&entry.key.value);
                    if let Some(last) = kept.last_mut() {
                        last.value = Node { span: *span, kind: Kind::Invalid };
                    }
                }
                _ => {
                    self.report_split(split.take(), kept.last());
                    if let Kind::Scalar(Scalar { text, plain: true, .. }) = &entry.value.kind {
                        split = Some((entry.value.span, open_brackets(text)));
                    }
                    kept.push(entry);
                }
            }
        }
        self.report_split(split, kept.last());
        mapping.entries = kept;
    }

    fn report_split(&mut self, split: Option<(Span, i64)>, entry: Option<&Entry>) {
        let (Some((span, _)), Some(Entry { key, value: Node { kind: Kind::Invalid, .. } })) = (split, entry) else { return };
        let written = self.source.text.get(span.range()).unwrap_or_default();
        let help =
            format!("inside `{{ }}` a value with a comma needs quotes: `{}: \"{}\"`", key.value, written.replace('"', "\\\""));
        self.error("yaml-syntax", span, &format!("a comma ends the value of `{}` in the middle", key.value), &help);
    }
}

fn open_brackets(text: &str) -> i64 {
    text.chars().fold(0, |open, c| match c {
        '(' => open + 1,
        ')' => open - 1,
        _ => open,
    })
}

/// The parser's message in the words of someone who writes pipelines, and what to do.
fn explain(info: &str) -> (String, &'static str) {
    let known: &[(&str, &str, &str)] = &[
        ("mapping values are not allowed", "a second `: ` in one value", "put a value that has `: ` in quotes"),
        ("tab", "a tab cannot indent a line", "indent with spaces"),
        ("did not find expected ',' or '}'", "the `{ }` does not go on here", QUOTE_IN_BRACES),
        ("expected ',' or ']'", "the `[ ]` does not go on here", QUOTE_IN_BRACES),
        ("invalid trailing content after", "text follows the closing quote", "put the whole value in one pair of quotes"),
        (
            "unexpected end of stream",
            "the quote that opens here is never closed",
            "close it, or put the value in the other kind of quotes",
        ),
        ("unknown escape character", "an unknown escape follows a `\\`", "use single quotes, in which `\\` stands for itself"),
        ("did not find expected key", "the indentation does not fit", "indent the keys of one level alike"),
        ("did not find expected '-' indicator", "the indentation does not fit", "indent the items of one list alike"),
        ("recursion limit", "this is nested too deeply", "a pipeline needs only a few levels"),
        ("misplaced bracket", "this bracket closes nothing", "take it out, or put the value in quotes"),
        ("simple key expect", "a key without a colon", "write `key: value`"),
        ("unknown anchor", "aliases are not part of the language", "write the value out; quote a value that starts with `*`"),
        ("found character that cannot start any token", "a value cannot start with this character", "put the value in quotes"),
        ("unexpected end of plain scalar", "a value is missing here", "write a value, or close the bracket"),
    ];
    match known.iter().find(|(part, ..)| info.contains(part)) {
        Some((_, message, help)) => ((*message).to_owned(), help),
        None => (format!("this is not valid YAML: {}", info.trim_end_matches('.')), "check quotes, colons and indentation"),
    }
}

const QUOTE_IN_BRACES: &str = "close the bracket, or put a value that has `,`, `[`, `]`, `{` or `}` in quotes";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Node>, Vec<Diagnostic>, String) {
        let source = Arc::new(Source { path: "p.yaml".to_owned(), text: text.to_owned() });
        let mut diagnostics = Vec::new();
        let node = parse(&source, &mut diagnostics);
        (node, diagnostics, text.to_owned())
    }

    fn entries(text: &str) -> Vec<Entry> {
        let (node, diagnostics, _) = read(text);
        assert_eq!(diagnostics, []);
        match node.unwrap().kind {
            Kind::Mapping(mapping) => mapping.entries,
            other => panic!("{other:?}"),
        }
    }

    fn message(text: &str) -> (String, String) {
        let (_, diagnostics, text) = read(text);
        assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
        (diagnostics[0].message.clone(), text[diagnostics[0].span.range()].to_owned())
    }

    #[test]
    fn places_are_bytes_though_the_parser_counts_characters() {
        let text = "größe: ä # ü\n日本: [ß, \"é\" ] # x\n";
        let found = entries(text);
        assert_eq!(&text[found[0].key.span.range()], "größe");
        assert_eq!(&text[found[0].value.span.range()], "ä");
        assert_eq!(&text[found[1].key.span.range()], "日本");
        assert_eq!(&text[found[1].value.span.range()], "[ß, \"é\" ]");
        let Kind::Sequence(items) = &found[1].value.kind else { panic!() };
        assert_eq!(&text[items[1].span.range()], "\"é\"");
    }

    #[test]
    fn a_block_is_placed_at_its_text_and_a_quoted_scalar_ends_at_its_quote() {
        let text = "a: |\n  one\n  two\n\nb: 'x''y'   # comment\nc:\n";
        let found = entries(text);
        assert_eq!(&text[found[0].value.span.range()], "one\n  two");
        assert_eq!(&text[found[1].value.span.range()], "'x''y'");
        assert_eq!(&text[found[2].value.span.range()], "c");
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_are_read_over() {
        let text = "\u{feff}a: 1\r\nb: 2\r\n";
        let found = entries(text);
        assert_eq!(&text[found[0].key.span.range()], "a");
        assert_eq!(&text[found[1].value.span.range()], "2");
    }

    #[test]
    fn a_key_that_is_given_twice_is_an_error_and_the_first_stays() {
        let (node, diagnostics, _) = read("a: 1\nb: 2\na: 3\n");
        assert_eq!(diagnostics[0].message, "`a` is given twice");
        assert_eq!(diagnostics[0].position(), (3, 1));
        let Kind::Mapping(mapping) = node.unwrap().kind else { panic!() };
        assert_eq!(mapping.entries.len(), 2);
    }

    #[test]
    fn what_a_pipeline_does_not_need_of_yaml_is_refused_with_a_reason() {
        assert_eq!(message("a: &x 1").0, "anchors are not part of the language");
        assert_eq!(message("a: *x").0, "aliases are not part of the language");
        assert_eq!(message("a: !!str 1").0, "tags are not part of the language");
        assert_eq!(message("a: 1\n---\nb: 2\n").0, "a second document starts here");
        assert_eq!(message("[a, b]: 1").0, "this key is not a plain text");
        assert_eq!(message("a: 1\n\tb: 2").0, "a tab cannot indent a line");
        assert_eq!(message("a: x\0y").0, "the control character '\\0' is not allowed in YAML");
        assert_eq!(message(&"[".repeat(100_000)).0, "this is nested too deeply");
    }

    #[test]
    fn common_slips_are_explained() {
        assert_eq!(message("a: b: c").0, "a second `: ` in one value");
        assert_eq!(message("a: {b: x[1]}").0, "the `{ }` does not go on here");
        assert_eq!(message("a: {b: x in ('y', 'z')}").0, "text follows the closing quote");
        assert_eq!(message("a: 'x").0, "the quote that opens here is never closed");
    }

    #[test]
    fn a_comma_inside_an_unquoted_call_is_found() {
        let text = "s: { a: f(x, g(y), z), b: c }";
        let (node, diagnostics, _) = read(text);
        assert_eq!(diagnostics.len(), 1);
        assert_eq!(&text[diagnostics[0].span.range()], "f(x, g(y), z)");
        let Kind::Mapping(mapping) = node.unwrap().kind else { panic!() };
        let Kind::Mapping(inner) = &mapping.entries[0].value.kind else { panic!() };
        assert_eq!(inner.entries.len(), 2);
        assert_eq!(inner.entries[0].value.kind, Kind::Invalid);
    }

    #[test]
    fn an_empty_file_is_an_absent_value() {
        for text in ["", "# nothing\n", "---\n"] {
            let (node, diagnostics, _) = read(text);
            assert_eq!(diagnostics, [], "{text:?}");
            assert!(node.is_none_or(|n| matches!(n.kind, Kind::Scalar(Scalar { absent: true, .. }))), "{text:?}");
        }
    }
}
