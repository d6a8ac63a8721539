//! One JSON object on each line.

use lake::Result;

use super::buffer::{Buffer, Line};
use super::rows::RowWriter;
use super::{BatchReader, RawBatch, ReadOptions};

pub(super) struct NdjsonReader {
    buffer: Buffer,
    rows: RowWriter,
    line: i64,
}

impl NdjsonReader {
    pub(super) fn new(mut buffer: Buffer, options: &ReadOptions) -> Result<Self> {
        buffer.begin_text()?;
        Ok(Self { buffer, rows: RowWriter::new(options), line: 0 })
    }
}

impl BatchReader for NdjsonReader {
    fn next_batch(&mut self) -> Result<Option<RawBatch>> {
        while !self.rows.is_full() {
            let Some(line) = self.buffer.line()? else { break };
            self.line += 1;
            match line {
                Line::Long(record) => self.rows.too_long(self.line, &record, self.buffer.limit()),
                Line::Whole { length, consumed } => {
                    let record = self.buffer.window()[..length].trim_ascii();
                    if !record.is_empty() {
                        self.rows.json(self.line, record);
                    }
                    self.buffer.consume(consumed);
                }
            }
        }
        self.rows.has_rows().then(|| self.rows.finish()).transpose()
    }

    fn bytes_read(&self) -> u64 {
        self.buffer.bytes_read()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Read, read, read_with};
    use super::super::{Format, ReadOptions};

    fn ndjson(text: &str) -> Read {
        read(Format::Ndjson, text.as_bytes())
    }

    #[test]
    fn scalars_are_kept_as_delivered() {
        let read = ndjson("{\"n\":1.10,\"e\":1e5,\"big\":12345678901234567890123,\"t\":true,\"s\":\"a\\nb\",\"z\":null}\n");
        assert_eq!(read.rows, [r#"{"n":"1.10","e":"1e5","big":"12345678901234567890123","t":"true","s":"a\nb","z":null}"#]);
        assert_eq!(read.types, "n: Utf8, e: Utf8, big: Utf8, t: Utf8, s: Utf8, z: Null");
        assert_eq!(read.rescued, [None]);
    }

    #[test]
    fn objects_are_structs_and_arrays_lists() {
        let read = ndjson("{\"u\":{\"n\":1,\"t\":[\"a\",2]}}\n{\"u\":{\"m\":{\"x\":[]}}}\n{\"u\":null}\n{}\n");
        assert_eq!(
            read.rows,
            [
                r#"{"u":{"n":"1","t":["a","2"],"m":null}}"#,
                r#"{"u":{"n":null,"t":null,"m":{"x":[]}}}"#,
                r#"{"u":null}"#,
                r#"{"u":null}"#,
            ]
        );
        assert_eq!(read.types, "u: {n: Utf8, t: [Utf8], m: {x: [Null]}}");
    }

    #[test]
    fn rows_are_numbered_by_line_and_blank_lines_are_no_rows() {
        let read = ndjson("\u{feff}{\"a\":1}\r\n\n  \t\n{\"a\":2}\r\n\n{\"a\":3}");
        assert_eq!(read.numbers, [1, 4, 6]);
        assert_eq!(read.rows, [r#"{"a":"1"}"#, r#"{"a":"2"}"#, r#"{"a":"3"}"#]);
        assert!(ndjson("").rows.is_empty());
        assert!(ndjson("\n\n").rows.is_empty());
    }

    #[test]
    fn a_broken_record_is_kept_whole() {
        let read = read(Format::Ndjson, b"{\"a\":1}\n{\"a\":\n[1]\n\xff{}\n{\"a\":1} x\n");
        let rescued: Vec<_> = read.rescued.iter().map(|r| r.as_deref().unwrap_or_default()).collect();
        assert_eq!(
            rescued,
            [
                "",
                r#"{"reason":"not JSON: the text ends where a value was expected, at byte 6","record":"{\"a\":"}"#,
                r#"{"reason":"not an object","record":"[1]"}"#,
                "{\"reason\":\"byte 1 is not UTF-8\",\"encoding\":\"invalid utf-8\",\"record\":\"\u{fffd}{}\"}",
                r#"{"reason":"not JSON: text after the end of the value, at byte 9","record":"{\"a\":1} x"}"#,
            ]
        );
        assert_eq!(read.rows[1..], [r#"{"a":null}"#; 4]);
    }

    #[test]
    fn text_takes_objects_as_json_and_structs_do_not_take_text() {
        let read = ndjson(
            "{\"a\":1,\"u\":{\"n\":1}}\n{\"a\":{\"x\": [1.0]},\"u\":\"bob\"}\n{\"a\":[ ],\"u\":{\"n\":{\"f\":1}}}\n{\"u\":[1]}\n",
        );
        assert_eq!(
            read.rows,
            [
                r#"{"a":"1","u":{"n":"1"}}"#,
                r#"{"a":"{\"x\": [1.0]}","u":null}"#,
                r#"{"a":"[ ]","u":{"n":"{\"f\":1}"}}"#,
                r#"{"a":null,"u":null}"#,
            ]
        );
        assert_eq!(read.rescued[1].as_deref(), Some(r#"{"reason":"`u` is text where objects were","fields":{"u":"bob"}}"#));
        assert_eq!(read.rescued[3].as_deref(), Some(r#"{"reason":"`u` is a list where objects were","fields":{"u":[1]}}"#));
    }

    #[test]
    fn a_value_deep_inside_is_rescued_with_its_path() {
        let read = ndjson("{\"l\":[{\"u\":{\"n\":1}}]}\n{\"l\":[{\"u\":{\"n\":2}},{\"u\":3},4]}\n{\"l\":{}}\n");
        assert_eq!(read.rows[1], r#"{"l":[{"u":{"n":"2"}},{"u":null},null]}"#);
        assert_eq!(
            read.rescued[1].as_deref(),
            Some(
                r#"{"reason":"`l.u` is text where objects were; `l` is text where objects were","fields":{"l[1].u":3,"l[2]":4}}"#
            )
        );
        assert_eq!(read.rescued[2].as_deref(), Some(r#"{"reason":"`l` is an object where lists were","fields":{"l":{}}}"#));
    }

    #[test]
    fn the_first_of_a_repeated_key_is_kept_and_the_rest_rescued() {
        let read = ndjson("{\"a\":null,\"a\":2,\"a\":3,\"\\u0061\":4}\n");
        assert_eq!(read.rows, [r#"{"a":null}"#]);
        assert_eq!(
            read.rescued[0].as_deref(),
            Some(r#"{"reason":"`a` is given more than once","fields":{"a":2,"a (2)":3,"a (3)":4}}"#)
        );
    }

    #[test]
    fn names_that_delta_forbids_are_changed_at_every_level() {
        let read = ndjson("{\"a b\":{\"c=d\":1},\"A_b\":2,\"_source\":3,\"\":4}\n");
        assert_eq!(read.types, "a_b: {c_d: Utf8}, A_b_2: Utf8, raw__source: Utf8, column_4: Utf8");
        assert_eq!(read.rows, [r#"{"a b":{"c=d":"1"},"A_b":"2","_source":"3","":"4"}"#]);
    }

    #[test]
    fn a_batch_ends_by_rows_or_bytes_and_the_schema_only_grows() {
        let text: String = (0..10).map(|i| format!("{{\"a\":{i},\"b{}\":1}}\n", i / 4)).collect();
        let by_rows = read_with(ReadOptions { batch_rows: 4, ..ReadOptions::new(Format::Ndjson) }, text.as_bytes());
        assert_eq!(by_rows.batches, [4, 4, 2]);
        assert_eq!(by_rows.types, "a: Utf8, b0: Utf8, b1: Utf8, b2: Utf8");
        let by_bytes = read_with(ReadOptions { batch_bytes: 20, ..ReadOptions::new(Format::Ndjson) }, text.as_bytes());
        assert_eq!(by_bytes.batches, [2; 5]);
        assert_eq!(by_bytes.numbers, (1..=10).collect::<Vec<_>>());
    }

    #[test]
    fn a_record_over_the_limit_leaves_its_start_and_its_length() {
        let text = format!("{{\"a\":\"{}\"}}\n{{\"a\":1}}\n", "x".repeat(500));
        let read = read_with(ReadOptions { record_bytes: 100, ..ReadOptions::new(Format::Ndjson) }, text.as_bytes());
        assert_eq!(read.rows, [r#"{"a":null}"#, r#"{"a":"1"}"#]);
        let rescued = read.rescued[0].as_deref().unwrap();
        assert!(
            rescued.starts_with(r#"{"reason":"record is longer than 100 bytes; its first 1048576 are kept","length":508,"#),
            "{rescued}"
        );
    }

    #[test]
    fn a_feed_whose_keys_are_data_runs_out_of_columns_and_loses_nothing() {
        let text: String = (0..10_002).map(|i| format!("{{\"k{i}\":{i}}}\n")).collect();
        let read = ndjson(&text);
        assert_eq!(
            read.rescued[10_001].as_deref(),
            Some(r#"{"reason":"`k10001` is one field too many: a table has at most 10000","fields":{"k10001":10001}}"#)
        );
        assert!(read.rescued[..10_000].iter().all(Option::is_none));
    }

    #[test]
    fn deep_nesting_ends_in_text() {
        let text = format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
        let read = ndjson(&text);
        assert_eq!(read.rescued, [None]);
        assert!(read.rows[0].contains(r#"{\"a\":"#));
    }
}
