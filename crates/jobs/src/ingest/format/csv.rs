//! Separated fields, quoted as in RFC 4180.
//!
//! Records are split here rather than by a lenient library: a quote that is never closed must cost one line and not the rest
//! of the file, and a broken record must be kept as the text it was.

use lake::{Error, ErrorKind, Result};

use super::buffer::{Buffer, Line};
use super::naming::distinct_keys;
use super::rows::RowWriter;
use super::{BatchReader, RawBatch, ReadOptions};

pub(super) struct CsvReader {
    buffer: Buffer,
    rows: RowWriter,
    delimiter: u8,
    header: bool,
    /// The slot of each field, once the columns are known.
    slots: Option<Vec<usize>>,
    fields: Vec<Span>,
    scratch: String,
    row: i64,
}

/// A field of the record at the start of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: usize,
    end: usize,
    /// It has doubled quotes, each of which stands for one.
    doubled: bool,
}

/// What stands at the start of the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// A record of `length` bytes, `consumed` with its line end.
    Whole { length: usize, consumed: usize },
    /// A record with text after a closing quote.
    Torn { length: usize, consumed: usize },
    /// The window ends within a record.
    More,
    /// The stream ends within quotes.
    Unclosed,
}

impl CsvReader {
    pub(super) fn new(mut buffer: Buffer, options: &ReadOptions, delimiter: u8) -> Result<Self> {
        if matches!(delimiter, b'"' | b'\n' | b'\r') || !delimiter.is_ascii() {
            return Err(Error::new(ErrorKind::Config, "the CSV delimiter is a quote, a line end or not ASCII")
                .with_hint("use one character such as `,`, `;`, `|` or a tab"));
        }
        buffer.begin_text()?;
        let rows = RowWriter::new(options);
        Ok(Self {
            buffer,
            rows,
            delimiter,
            header: options.header,
            slots: None,
            fields: Vec::new(),
            scratch: String::new(),
            row: 0,
        })
    }

    /// The next record's split into `self.fields`, blank lines passed over; `None` at the end of the stream.
    fn split(&mut self) -> Result<Option<Split>> {
        let mut ended = false;
        loop {
            if self.buffer.window().is_empty() && !self.buffer.fill()? {
                return Ok(None);
            }
            match split(self.buffer.window(), self.delimiter, ended, &mut self.fields) {
                Split::More if self.buffer.window().len() > self.buffer.limit() => return Ok(Some(Split::More)),
                Split::More => ended = !self.buffer.fill()?,
                Split::Whole { length, consumed } if self.is_blank(length) => self.buffer.consume(consumed),
                split => return Ok(Some(split)),
            }
        }
    }

    /// A line of white space is no record, unless white space is all that a record of one column could be.
    fn is_blank(&self, length: usize) -> bool {
        let several = self.slots.as_ref().is_some_and(|s| s.len() > 1);
        length == 0 || (several && self.fields.len() == 1 && self.buffer.window()[..length].trim_ascii().is_empty())
    }

    /// Names the columns, from the first record or by position; false for a file without records.
    fn name_columns(&mut self) -> Result<bool> {
        let (length, consumed) = match self.split()? {
            None => return Ok(false),
            Some(Split::Whole { length, consumed }) => (length, consumed),
            Some(_) if !self.header => (0, 0),
            Some(_) => return Err(self.no_header("has quotes that do not match")),
        };
        let keys: Vec<String> = match self.header {
            false => (1..=self.fields.len()).map(|n| format!("column_{n}")).collect(),
            true => {
                let record = self.buffer.window().get(..length).unwrap_or_default();
                let text = std::str::from_utf8(record).map_err(|_| self.no_header("is not UTF-8"))?;
                self.fields.iter().map(|f| f.text(text, &mut self.scratch).to_owned()).collect()
            }
        };
        let columns = self.rows.columns();
        self.slots = Some(distinct_keys(&keys).iter().map(|k| columns.text_slot(k)).collect());
        if self.header {
            self.buffer.consume(consumed);
        }
        Ok(true)
    }

    fn no_header(&self, why: &str) -> Error {
        Error::new(ErrorKind::Data, format!("the first line of `{}`, which names the columns, {why}", self.buffer.name()))
            .with_hint("convert the file to UTF-8 CSV, or say `header: false` when its first line is data")
    }

    /// Takes one record; false at the end of the stream.
    fn record(&mut self) -> Result<bool> {
        let Some(split) = self.split()? else { return Ok(false) };
        self.row += 1;
        match split {
            Split::Whole { length, consumed } => {
                self.whole(length);
                self.buffer.consume(consumed);
            }
            Split::Torn { length, consumed } => {
                let reason = format!("field {} has text after its closing quote", self.fields.len());
                self.rows.broken(self.row, &reason, &self.buffer.window()[..length]);
                self.buffer.consume(consumed);
            }
            Split::Unclosed => self.first_line("a quote is not closed")?,
            Split::More => {
                let limit = self.buffer.limit();
                self.first_line(&format!("record does not end within {limit} bytes"))?;
            }
        }
        Ok(true)
    }

    /// Keeps the line at hand as a broken record, so that reading goes on with the next line.
    fn first_line(&mut self, reason: &str) -> Result<()> {
        match self.buffer.line()? {
            Some(Line::Whole { length, consumed }) => {
                let line = &self.buffer.window()[..length];
                self.rows.broken(self.row, reason, line.strip_suffix(b"\r").unwrap_or(line));
                self.buffer.consume(consumed);
            }
            Some(Line::Long(record)) => self.rows.too_long(self.row, &record, self.buffer.limit()),
            None => {}
        }
        Ok(())
    }

    fn whole(&mut self, length: usize) {
        let record = &self.buffer.window()[..length];
        let text = match std::str::from_utf8(record) {
            Ok(text) => text,
            Err(error) => return self.rows.broken(self.row, &format!("byte {} is not UTF-8", error.valid_up_to() + 1), record),
        };
        let slots = self.slots.as_deref().unwrap_or_default();
        if self.fields.len() != slots.len() {
            self.rows.rescue().because(format!("{} fields, expected {}", self.fields.len(), slots.len()));
        }
        for (index, field) in self.fields.iter().enumerate() {
            let value = field.text(text, &mut self.scratch);
            match slots.get(index) {
                Some(_) if value.is_empty() => {}
                Some(slot) => self.rows.text(*slot, value),
                None => self.rows.rescue().extra(value),
            }
        }
        self.rows.end(self.row, length);
    }
}

impl BatchReader for CsvReader {
    fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        if self.slots.is_none() && !self.name_columns()? {
            return Ok(None);
        }
        while !self.rows.is_full() && self.record()? {}
        self.rows.has_news().then(|| self.rows.finish()).transpose()
    }

    fn bytes_read(&self) -> u64 {
        self.buffer.bytes_read()
    }
}

impl Span {
    fn text<'t>(&self, record: &'t str, scratch: &'t mut String) -> &'t str {
        let text = record.get(self.start..self.end).unwrap_or_default();
        if !self.doubled {
            return text;
        }
        scratch.clear();
        scratch.extend(text.split("\"\"").enumerate().flat_map(|(i, part)| [if i == 0 { "" } else { "\"" }, part]));
        scratch
    }
}

/// Splits the record at the start of `window` into `fields`; `ended` says that nothing follows the window.
fn split(window: &[u8], delimiter: u8, ended: bool, fields: &mut Vec<Span>) -> Split {
    fields.clear();
    let mut at = 0;
    loop {
        let (span, after) = match window.get(at) {
            Some(b'"') => match quoted(window, at, ended) {
                Ok(found) => found,
                Err(stop) => return stop,
            },
            _ => match memchr::memchr3(delimiter, b'\n', b'\r', &window[at..]) {
                None if !ended => return Split::More,
                found => {
                    let end = found.map_or(window.len(), |f| at + f);
                    (Span { start: at, end, doubled: false }, end)
                }
            },
        };
        fields.push(span);
        match window.get(after) {
            Some(byte) if *byte == delimiter => at = after + 1,
            Some(b'\n' | b'\r') | None => {
                return line_end(window, after, ended).map_or(Split::More, |consumed| Split::Whole { length: after, consumed });
            }
            Some(_) => return torn(window, after, ended),
        }
    }
}

/// The field in quotes that starts at `at`, and the byte after its closing quote.
fn quoted(window: &[u8], at: usize, ended: bool) -> Result<(Span, usize), Split> {
    let (mut from, mut doubled) = (at + 1, false);
    loop {
        let Some(found) = memchr::memchr(b'"', &window[from..]) else {
            return Err(if ended { Split::Unclosed } else { Split::More });
        };
        let quote = from + found;
        match window.get(quote + 1) {
            Some(b'"') => (from, doubled) = (quote + 2, true),
            None if !ended => return Err(Split::More),
            _ => return Ok((Span { start: at + 1, end: quote, doubled }, quote + 1)),
        }
    }
}

/// Where the next record starts when this one ends at `at`; `None` when that is not to be seen yet.
fn line_end(window: &[u8], at: usize, ended: bool) -> Option<usize> {
    match (window.get(at), window.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Some(at + 2),
        (Some(b'\r'), None) if !ended => None,
        (Some(_), _) => Some(at + 1),
        (None, _) => Some(at),
    }
}

fn torn(window: &[u8], at: usize, ended: bool) -> Split {
    let end = match memchr::memchr2(b'\n', b'\r', &window[at..]) {
        Some(found) => at + found,
        None if ended => window.len(),
        None => return Split::More,
    };
    line_end(window, end, ended).map_or(Split::More, |consumed| Split::Torn { length: end, consumed })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::super::testing::{Read, read, read_with, try_read};
    use super::super::{Format, ReadOptions};

    fn csv(text: &str) -> Read {
        read(Format::Csv, text.as_bytes())
    }

    #[test]
    fn fields_are_kept_as_delivered_and_empty_ones_are_null() {
        let read = csv("a,b,c\n1.10, x ,\n\"\",true,null\n");
        assert_eq!(read.rows, [r#"{"a":"1.10","b":" x ","c":null}"#, r#"{"a":null,"b":"true","c":"null"}"#]);
        assert_eq!((read.types.as_str(), read.numbers.as_slice()), ("a: Utf8, b: Utf8, c: Utf8", &[1, 2][..]));
    }

    #[test]
    fn quotes_hold_delimiters_line_ends_and_quotes() {
        let read = csv("a,b\r\n\"x,\"\"y\"\"\r\n\",\"\"\"\"\r\nmid\"dle,\"z\"");
        assert_eq!(read.rows, [r#"{"a":"x,\"y\"\r\n","b":"\""}"#, r#"{"a":"mid\"dle","b":"z"}"#]);
        assert_eq!(read.rescued, [None, None]);
    }

    #[test]
    fn blank_lines_a_mark_and_any_line_end_are_passed_over() {
        let read = csv("\u{feff}\n\na,b\r\r\n1,2\r\n\r\n  \n3,4\n\n");
        assert_eq!(read.rows, [r#"{"a":"1","b":"2"}"#, r#"{"a":"3","b":"4"}"#]);
        assert_eq!(read.numbers, [1, 2]);
        assert_eq!(csv("a\n1\n\n \n\"\"\n").rows, [r#"{"a":"1"}"#, r#"{"a":" "}"#, r#"{"a":null}"#]);
    }

    #[test]
    fn a_file_of_a_header_alone_brings_its_columns() {
        let read = csv("a,b\n");
        assert_eq!((read.batches.as_slice(), read.types.as_str()), (&[0][..], "a: Utf8, b: Utf8"));
        assert_eq!(csv("a,b").types, "a: Utf8, b: Utf8");
        assert!(csv("").batches.is_empty());
        assert!(csv("\n\r\n").batches.is_empty());
    }

    #[test]
    fn a_row_of_another_length_keeps_what_fits_and_rescues_the_rest() {
        let read = csv("a,b\n1,2,3,\"4\"\n5\n6,7,\n");
        assert_eq!(read.rows, [r#"{"a":"1","b":"2"}"#, r#"{"a":"5","b":null}"#, r#"{"a":"6","b":"7"}"#]);
        assert_eq!(read.rescued[0].as_deref(), Some(r#"{"reason":"4 fields, expected 2","extra":["3","4"]}"#));
        assert_eq!(read.rescued[1].as_deref(), Some(r#"{"reason":"1 fields, expected 2"}"#));
        assert_eq!(read.rescued[2].as_deref(), Some(r#"{"reason":"3 fields, expected 2","extra":[""]}"#));
    }

    #[test]
    fn a_quote_that_is_not_closed_costs_its_line_alone() {
        let read = csv("a,b\n1,2\n\"x,3\r\n4,5\n6,7\n");
        assert_eq!(read.rows, [r#"{"a":"1","b":"2"}"#, r#"{"a":null,"b":null}"#, r#"{"a":"4","b":"5"}"#, r#"{"a":"6","b":"7"}"#]);
        assert_eq!(read.rescued[1].as_deref(), Some(r#"{"reason":"a quote is not closed","record":"\"x,3"}"#));
    }

    #[test]
    fn text_after_a_closing_quote_breaks_its_record_alone() {
        let read = csv("a,b\n\"x\"y,2\n3,4\n5,\"6\" ");
        assert_eq!(
            read.rescued[0].as_deref(),
            Some(r#"{"reason":"field 1 has text after its closing quote","record":"\"x\"y,2"}"#)
        );
        assert_eq!(
            read.rescued[2].as_deref(),
            Some(r#"{"reason":"field 2 has text after its closing quote","record":"5,\"6\" "}"#)
        );
        assert_eq!(read.rows[1], r#"{"a":"3","b":"4"}"#);
    }

    #[test]
    fn a_record_that_is_not_utf_8_is_kept() {
        let read = read(Format::Csv, b"a,b\n1,\xe9t\xe9\n3,4\n");
        assert_eq!(
            read.rescued[0].as_deref(),
            Some("{\"reason\":\"byte 3 is not UTF-8\",\"encoding\":\"invalid utf-8\",\"record\":\"1,\u{fffd}t\u{fffd}\"}")
        );
        assert_eq!(read.rows[1], r#"{"a":"3","b":"4"}"#);
    }

    #[test]
    fn a_header_that_cannot_be_read_is_an_error() {
        for (text, why) in [(&b"\xe9,b\n1,2\n"[..], "is not UTF-8"), (b"\"a,b\n1,2\n", "has quotes that do not match")] {
            let error = try_read(&ReadOptions::new(Format::Csv), text).unwrap_err();
            assert_eq!(error.to_string(), format!("the first line of `f`, which names the columns, {why}"));
        }
    }

    #[test]
    fn headers_are_made_distinct_and_columns_without_one_are_numbered() {
        let read = csv("id,ID,id,,x y\n1,2,3,4,5\n");
        assert_eq!(read.types, "id: Utf8, ID_2: Utf8, id_2_2: Utf8, column_4: Utf8, x_y: Utf8");
        assert_eq!(read.rows, [r#"{"id":"1","ID":"2","id_2":"3","":"4","x y":"5"}"#]);
        let options = ReadOptions { header: false, ..ReadOptions::new(Format::Csv) };
        assert_eq!(
            read_with(options.clone(), b"1,2\n3,4").rows,
            [r#"{"column_1":"1","column_2":"2"}"#, r#"{"column_1":"3","column_2":"4"}"#]
        );
        assert!(read_with(options, b"").batches.is_empty());
    }

    #[test]
    fn the_delimiter_is_the_callers_choice() {
        let options = ReadOptions { delimiter: Some(b';'), ..ReadOptions::new(Format::Csv) };
        assert_eq!(read_with(options, b"a;b\n1,0;2\n").rows, [r#"{"a":"1,0","b":"2"}"#]);
        let quote = ReadOptions { delimiter: Some(b'"'), ..ReadOptions::new(Format::Csv) };
        assert_eq!(try_read(&quote, b"a").unwrap_err().kind(), lake::ErrorKind::Config);
    }

    #[test]
    fn a_column_that_holds_objects_rescues_text() {
        let fields = vec![Field::new("n", DataType::Utf8, true)];
        let known = Schema::new(vec![Field::new("u", DataType::Struct(fields.into()), true)]);
        let options = ReadOptions { known: Arc::new(known), ..ReadOptions::new(Format::Csv) };
        let read = read_with(options, b"u,a\nbob,1\n,2\n");
        assert_eq!(read.types, "u: {n: Utf8}, a: Utf8");
        assert_eq!(read.rescued[0].as_deref(), Some(r#"{"reason":"`u` is text where objects were","fields":{"u":"bob"}}"#));
        assert_eq!(read.rescued[1], None);
    }

    #[test]
    fn a_record_over_the_limit_is_told_and_the_next_is_read() {
        let options = ReadOptions { record_bytes: 100, ..ReadOptions::new(Format::Csv) };
        let text = format!("a,b\n{},2\n3,4\n", "x".repeat(400_000));
        let read = read_with(options, text.as_bytes());
        assert!(read.rescued[0].as_deref().unwrap().contains(r#""length":400002"#));
        assert_eq!(read.rows[1], r#"{"a":"3","b":"4"}"#);
    }

    fn quote(field: &str) -> String {
        format!("\"{}\"", field.replace('"', "\"\""))
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in prop::collection::vec(prop::collection::vec(any::<String>(), 3), 0..12), crlf: bool) {
            let end = if crlf { "\r\n" } else { "\n" };
            let mut text = format!("a,b,c{end}");
            for row in &rows {
                text += &row.iter().map(|f| quote(f)).collect::<Vec<_>>().join(",");
                text += end;
            }
            let read = csv(&text);
            let expected: Vec<String> = rows.iter().map(|r| {
                let cell = |v: &String| if v.is_empty() { "null".to_owned() } else { serde_json::to_string(v).unwrap() };
                format!("{{\"a\":{},\"b\":{},\"c\":{}}}", cell(&r[0]), cell(&r[1]), cell(&r[2]))
            }).collect();
            prop_assert_eq!(read.rows, expected);
            prop_assert!(read.rescued.iter().all(Option::is_none));
        }

        #[test]
        fn sound_files_read_as_the_csv_crate_reads_them(text in "[ab\", \n]{0,40}") {
            let options = ReadOptions { header: false, ..ReadOptions::new(Format::Csv) };
            let ours = read_with(options, text.as_bytes());
            if ours.rescued.iter().any(Option::is_some) || text.lines().any(|l| l.trim().is_empty()) {
                return Ok(());
            }
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let theirs: Vec<Vec<String>> = reader.records().map(|r| r.unwrap().iter().map(str::to_owned).collect()).collect();
            let cells: Vec<Vec<String>> = ours.rows.iter().map(|row| {
                let row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(row).unwrap();
                row.values().map(|v| v.as_str().unwrap_or_default().to_owned()).collect()
            }).collect();
            prop_assert_eq!(cells, theirs);
        }
    }
}
